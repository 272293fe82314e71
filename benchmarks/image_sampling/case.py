"""One model and batch, drawn in several ways that must agree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ar_core.decoding import DecodeStats
from torch import Tensor

__all__ = ["FREE", "WINDOWED", "Case", "Drawn"]

WINDOWED = "windowed cache"
FREE = "windowed cache, no guidance"
"""The one arm whose codes are others."""


@dataclass(frozen=True)
class Drawn:
    """Codes of all images, what the passes were, and their operations if they were counted."""

    codes: Tensor
    stats: DecodeStats
    flops: int | None


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        family: whose loop.
        size: of the model and its images, in words.
        batch: images.
        guidance: g of every code but in the arm without.
        arms: ways to draw, by name, the windowed cache among them; each is told whether to count operations.
    """

    family: str
    size: str
    batch: int
    guidance: float
    arms: Mapping[str, Callable[[bool], Drawn]]

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.family}, {self.size}, {self.batch} images, guidance {self.guidance}"
