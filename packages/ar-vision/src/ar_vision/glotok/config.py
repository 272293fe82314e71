"""Hyperparameters of GloTok."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

from ..tokenizers.training.config import TokenizerTrainingConfig
from .histogram_config import HistogramConfig

__all__ = ["GlotokConfig"]


@dataclass(frozen=True)
class GlotokConfig(TokenizerTrainingConfig):
    """The losses of a dual tokenizer: those of `TokenizerTrainingConfig`, and the two that GloTok adds.

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
    histogram: HistogramConfig = field(default_factory=HistogramConfig)
    """Bins of both histograms."""
    direction: Literal["teacher_student", "student_teacher"] = "teacher_student"
    """``teacher_student``: KL(P_t || P_s), which is what the paper's notation means in PyTorch. ``student_teacher``: the reverse."""
    every: int = 1
    """j: the histogram loss is evaluated every j-th step, with j times its weight. It does not depend on the images."""
    evaluation: Literal["auto", "exact", "fine"] = "auto"
    """``exact``: every pair meets every bin. ``fine``: pairs are first gathered in cells far narrower than a bin. ``auto``: exact up to
    2048 codes. Neither holds a matrix of all pairs."""
    tile: int = field(default=256, metadata=FREE)
    """Codes on a side of the pieces in which pairs are gone through; memory and speed only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "every", "tile")
        if self.schedules is not None:
            raise ConfigError(
                f"schedules is {self.schedules!r} and a tokenizer with two codebooks has one grid: leave it out"
            )
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

    @property
    def coefficients(self) -> dict[str, float]:
        """Factor of every loss term that is not left out."""
        own = {"residual": self.residual_weight, "histogram": self.histogram_weight * self.every}
        return super().coefficients | {term: factor for term, factor in own.items() if factor}
