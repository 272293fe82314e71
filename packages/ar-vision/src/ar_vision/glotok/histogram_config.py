"""Settings of histograms of similarities. Imports no torch."""

import math
from dataclasses import dataclass

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["HistogramConfig"]


@dataclass(frozen=True)
class HistogramConfig:
    """The soft histogram of pairwise cosines (arXiv 2511.14184, equations 4 and 5).

    Raises:
        ConfigError: A value is out of range.
    """

    bins: int = 40
    """N, centres B_k = -1 + 2k / (N - 1)."""
    sharpness: float = 190.125
    """alpha of exp(-alpha (D - B_k)²). The paper gives none; this is 1 / (2 s²) with s the distance of two centres of 40."""
    include_self: bool = True
    """Count each vector's similarity to itself, n ones, as the equation is written."""

    def __post_init__(self) -> None:
        require_positive(self, "bins")
        if self.bins < 2:
            raise ConfigError(f"bins is {self.bins} and must be at least 2, one at each end of [-1, 1]")
        if not (math.isfinite(self.sharpness) and self.sharpness > 0):
            raise ConfigError(f"sharpness is {self.sharpness} and must be a finite number above 0")
