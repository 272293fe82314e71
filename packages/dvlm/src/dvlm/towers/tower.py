"""The seam of vision towers: anything that turns a square crop into a grid of features.

Source: ours.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

__all__ = ["Tower"]


class Tower(nn.Module, ABC):
    """A vision encoder with a square input.

    Args:
        side: S, side of a crop in pixels.
        features: g, features along a side.
        width: W, of a feature.
        mean: of the pixels, per channel, in [0, 1].
        std: likewise.
    """

    def __init__(self, *, side: int, features: int, width: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.side, self.features, self.width = side, features, width
        self.mean, self.std = tuple(mean), tuple(std)

    @abstractmethod
    def forward(self, crops: Tensor) -> Tensor:
        """Features [K, g · g, W] of normalised crops [K, 3, S, S], row by row."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Write what `build_tower` needs into a new folder; returns the fields of a `TowerConfig` but its path."""
