"""What a decoder returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ar_core.decoding.stats import DecodeStats
from ar_core.decoding.trace import Trace

__all__ = ["Decoded", "OnToken"]

OnToken: TypeAlias = Callable[[int, list[int]], None]
"""Called with a row and its newly final tokens, in order; together they are exactly the row's `Decoded.tokens`."""


@dataclass(frozen=True)
class Decoded:
    """Output of a decoder for a batch, in the order of the prompts.

    Attributes:
        tokens: generated ids of each row, without the prompt.
        finish: why each row ended: "stop_id", "stop_string" or "length".
        stats: forwards, time and acceptance of the whole batch.
        trace: which pass fixed which token, if it was asked for.
    """

    tokens: list[list[int]]
    finish: list[str]
    stats: DecodeStats
    trace: Trace | None = None
