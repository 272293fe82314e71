"""Shape of a class-conditional next-scale transformer. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["ScaleTransformerConfig", "require_sides"]


@dataclass(frozen=True, kw_only=True)
class ScaleTransformerConfig:
    """What VAR and FlexVAR have in common; published models have C = 64 d and H = d.

    Raises:
        ConfigError: A value is out of range, or the heads do not divide the width.
    """

    vocab_size: int
    """V, codes of the tokenizer."""
    code_dim: int
    """Cv, dimension of its code vectors."""
    num_classes: int = 1000
    """Classes; the null class is number ``num_classes``."""
    depth: int = 16
    """d, blocks."""
    width: int = 1024
    """C."""
    heads: int = 16
    """H."""
    ffn_ratio: int = 4
    """Width of the feed-forward layer in units of C."""
    l2_norm: bool = True
    """Queries and keys of length 1 with a learned temperature (``attn_l2_norm``); the published weights need it."""
    shared_adaln: bool = False
    """One modulation for all blocks plus a learned offset in each (``saln``), as in VAR-d36 for 512 px."""
    drop_path: float = 0.0
    """Rate of stochastic depth in the last block; it rises linearly from 0 in the first. Published: d / 240."""
    head_precision: Literal["fp32", "autocast"] = "fp32"
    """Dtype of the head under autocast."""

    def __post_init__(self) -> None:
        require_positive(self, "vocab_size", "code_dim", "num_classes", "depth", "width", "heads", "ffn_ratio")
        if self.width % self.heads:
            raise ConfigError(
                f"heads is {self.heads}, which does not divide the width {self.width}: choose a divisor of the width"
            )
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is {self.drop_path}; it must be at least 0 and below 1")
        if self.head_precision not in ("fp32", "autocast"):
            raise ConfigError(f"head_precision is {self.head_precision!r}; choose fp32 or autocast")


def require_sides(sides: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of square scales.

    Raises:
        ConfigError: there is none, one is below 1, or one is smaller than the one before it.
    """
    if not sides or sides[0] < 1 or list(sides) != sorted(sides):
        raise ConfigError(
            f"scales are {list(sides)}; give the sides of the grids from coarse to fine, such as [1, 2, 4, 8]"
        )
    return tuple(sides)
