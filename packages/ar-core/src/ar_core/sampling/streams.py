"""A random stream for each row, so that what a row draws does not depend on its batch mates.

Source: ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import Generator

from ar_core.errors import ConfigError

__all__ = ["row_generators", "row_seed"]


def row_generators(seed: int | Sequence[int], rows: int) -> list[Generator]:
    """One CPU generator per row.

    Args:
        seed: one number, from which row r takes stream r; or one number per row, which names the row's stream itself, so
            that the same prompt draws the same in any batch and at any place in it. Row r of `seed` is row 0 of
            `[row_seed(seed, r)]`.
        rows: number of rows.
    """
    seeds = [row_seed(seed, r) for r in range(rows)] if isinstance(seed, int) else list(seed)
    if len(seeds) != rows:
        raise ConfigError(f"{len(seeds)} seeds were given for {rows} rows; give one number, or one per row.")
    generators = []
    for s in seeds:
        generator = Generator()
        generator.manual_seed(s)
        generators.append(generator)
    return generators


def row_seed(seed: int, row: int) -> int:
    """The 63-bit seed of row `row` under `seed`, hashed, so that neighbouring seeds share no stream."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{row}".encode(), digest_size=8).digest(), "big") >> 1
