"""Two codebooks whose codes stand side by side, a pair for each cell.

Letters: n_1 and n_2 codes of the first and the second codebook, d their dimension, B images, L cells.

Source: FQGAN (arXiv 2411.16681); one number a pair is ours.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..codebook import Codebook

__all__ = ["PairedCodebooks", "joined", "parted"]


def joined(first: Tensor, second: Tensor, second_codes: int) -> Tensor:
    """Return the number of each pair, first · n_2 + second: what is stored and generated.

    Args:
        first: codes of the first codebook, int64 `[...]`.
        second: codes of the second, int64 `[...]`.
        second_codes: n_2.

    Returns:
        int64 `[...]`.
    """
    return first * second_codes + second


def parted(codes: Tensor, second_codes: int) -> tuple[Tensor, Tensor]:
    """Return the pairs of :func:`joined` codes, int64 `[...]`: below n_1, and below n_2, int64 `[...]` each."""
    return codes // second_codes, codes % second_codes


class PairedCodebooks(nn.Module):
    """Two codebooks by name, in the order of the channels.

    Args:
        sizes: codes of each.
        dim: d of both.
        metric: as `Codebook` takes it.
        unit_rows: looked-up rows have unit length.
    """

    def __init__(self, sizes: Mapping[str, int], dim: int, *, metric: str, unit_rows: bool) -> None:
        super().__init__()
        self.names = tuple(sizes)
        for name, count in sizes.items():
            self.add_module(name, Codebook(count, dim, metric=metric, unit_rows=unit_rows))  # type: ignore[arg-type]  # one of the two metrics

    @property
    def sizes(self) -> tuple[int, int]:
        """n_1 and n_2."""
        first, second = (len(self[name].weight) for name in self.names)
        return first, second

    @property
    def dim(self) -> int:
        """2d, of a pair's vector."""
        return sum(self[name].weight.shape[1] for name in self.names)

    def __getitem__(self, name: str) -> Codebook:
        """The codebook of that name."""
        return self.get_submodule(name)  # type: ignore[return-value]  # what __init__ put there

    def split(self, codes: Tensor) -> dict[str, Tensor]:
        """Return the codes of each codebook of pairs, int64 of the same shape."""
        return dict(zip(self.names, parted(codes, self.sizes[1])))

    def join(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Return the pairs, int64 `[...]`, of the codes of each codebook, in the same shape."""
        return joined(codes[self.names[0]], codes[self.names[1]], self.sizes[1])

    def lookup_map(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the vectors of row-major codes, pairs int64 `[B, L]`, as features `[B, 2d, h, w]`.

        Raises:
            DataError: There are more or fewer pairs than cells.
        """
        return torch.cat([self[name].lookup_map(ids, size) for name, ids in self.split(codes).items()], dim=1)
