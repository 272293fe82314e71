"""Hyperparameters of GloTok. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["GlotokConfig", "HistogramConfig"]


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
        require_positive(self, "bins", "sharpness")
        if self.bins < 2:
            raise ConfigError(f"bins is {self.bins} and must be at least 2, one at each end of [-1, 1]")
        if not math.isfinite(self.sharpness):
            raise ConfigError(f"sharpness is {self.sharpness} and must be a finite number above 0")


@dataclass(frozen=True)
class GlotokConfig:
    """What GloTok adds to the training of a dual tokenizer: two losses.

    Raises:
        ConfigError: A value is out of range or contradicts another.
    """

    teacher: str | None = None
    """Whose histogram the semantic codebook takes on: a folder that the recipe `glotok_teacher` filled, a profile that
    `ar-decode teacher-profile` wrote (.json), or the checkpoint folder of a dual_vq; ``~`` and ``$NAME`` are expanded. Needed where
    ``histogram_weight`` is not 0."""
    histogram_weight: float = 0.01
    """lambda_hist; 0 leaves the loss out."""
    residual_weight: float = 0.5
    """lambda_res; 0 leaves the loss out. Needs a tokenizer with residual modules (``model.settings.residual``)."""
    histogram: HistogramConfig = HistogramConfig()
    """Bins of both histograms."""
    direction: Literal["teacher_student", "student_teacher"] = "teacher_student"
    """``teacher_student``: KL(P_t || P_s), which is what the paper's notation means in PyTorch. ``student_teacher``: the reverse."""
    every: int = 1
    """j: the histogram loss is evaluated every j-th step, with j times its weight. It does not depend on the images."""
    evaluation: Literal["auto", "exact", "fine"] = "auto"
    """``exact``: every pair meets every bin. ``fine``: pairs are first gathered in cells far narrower than a bin. ``auto``: exact up to
    2048 codes. Neither holds a matrix of all pairs."""
    tile: int = 256
    """Codes on a side of the pieces in which pairs are gone through; memory and speed only."""

    def __post_init__(self) -> None:
        require_positive(self, "every", "tile")
        for name in ("histogram_weight", "residual_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}, but must be at least 0: give 0 to leave the loss out")
        if self.histogram_weight and self.teacher is None:
            raise ConfigError(
                f"histogram_weight is {self.histogram_weight} and teacher names nothing whose histogram could be matched: give a "
                "teacher (recipe glotok_teacher makes one), or set histogram_weight to 0"
            )
        if not self.histogram_weight and self.teacher is not None:
            raise ConfigError(
                f"teacher is {self.teacher!r} and histogram_weight is 0, so that nobody looks at it: leave it out, or give a weight"
            )
