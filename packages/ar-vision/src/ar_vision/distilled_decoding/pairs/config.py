"""Settings of pairs. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any

from ar_core.config import require_positive, require_share
from ar_core.errors import ConfigError

from ..flow.config import FlowSolver

__all__ = ["NoiseCodePairsConfig", "PairDataConfig"]


@dataclass(frozen=True)
class NoiseCodePairsConfig:
    """Which pairs are made, and how the teacher is drawn from.

    Raises:
        ConfigError: a value is out of range.
    """

    count: int = 1_000_000
    """Pairs in all. The paper's amounts are not published; recollections say 1.2 million (VAR) and 1.6 million (LlamaGen)."""
    seed: int = 0
    """Of labels and noise: pair i is a function of it and i alone."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """Settings of the teacher's decoder, which the student will have for good. Published: cfg 2.0 (guidance 3 of VAR, in our
    count, and 2 of LlamaGen); top_k 900 and top_p 0.95 of VAR, top_k 8000 of LlamaGen."""
    solver: FlowSolver = field(default_factory=FlowSolver)
    """Of the flow."""
    batch_size: int = 16
    """Pairs drawn at a time. Part of what defines the data: products of other shapes round differently, and one draw in many that
    lies on the edge of two codes may then be decided otherwise."""
    checked: int = 4
    """Draws of each unit, in the first batch of each chunk, that are solved again with errors thousands of times smaller; agreement is
    counted."""

    def __post_init__(self) -> None:
        require_positive(self, "count", "batch_size")
        if self.checked < 0:
            raise ConfigError(f"checked is {self.checked}, but must be at least 0: correct it")


@dataclass(frozen=True)
class PairDataConfig:
    """Where pairs lie, and which of them a run takes.

    Raises:
        ConfigError: a value is out of range.
    """

    path: str
    """Folder that the recipe `noise_code_pairs` filled."""
    held_out: float = 0.0
    """Share of the pairs that is never trained on, in [0, 1): decided by a hash of the noise's seed."""
    count: int | None = None
    """Take only the first `count` pairs."""

    def __post_init__(self) -> None:
        require_share(self, "held_out")
        require_positive(self, "count")
