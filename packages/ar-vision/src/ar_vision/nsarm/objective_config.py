"""Hyperparameters of NSARM's two stages of training (arXiv 2510.00820). Imports no torch."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

from ar_core.errors import ConfigError

from ..backbones.infinity.objective_config import InfinityTraining
from .degradation.config import DegradationConfig, degradation_of
from .prompt import PROMPT

__all__ = ["NsarmTraining", "Stage"]

Stage = Literal["map", "joint"]
"""M alone, or M and the transformer."""


@dataclass(frozen=True)
class NsarmTraining:
    """What is particular to the method. No training code was published: what is only in the paper's figure, or ours, says so.

    Raises:
        ConfigError: a value is out of range, or settings contradict each other.
    """

    stage: Stage = "map"
    """``map``: stage 1, M alone, against the residuals of the HQ image. ``joint``: stage 2, M and the transformer end to end, on bits."""
    degradation: str | DegradationConfig = "realesrgan"
    """What makes the LQ image: realesrgan, light, bicubic, or every setting of its own."""
    reduction: Literal["tokens", "scales"] = "tokens"
    """Mean of squared errors: over all entries of all scales, or over each scale, then over these. Not published."""
    consistency_weight: float = 0.0
    """Stage 1: weight of the squared error between the running sums of both sides' residuals behind every scale
    (BitwiseSelfCorrection_consistency, whose use in the published model is unknown)."""
    map_weight: float = 0.0
    """Stage 2: weight of stage 1's loss beside the bits; whether it stayed on is not published."""
    loss_scales: Literal["written", "all"] = "written"
    """Stage 2: whose bits are scored. ``written``: those of the transformer, as the figure has it. ``all``: M's too, whose labels
    are M's own signs."""
    map_lr: float | None = 1e-4
    """Stage 2: peak learning rate of M; ``train.lr`` is the transformer's. null: the same. Ours."""
    trained_blocks: int | None = None
    """Stage 2: so many last blocks of the transformer are trained, with its output; null: all of it (published). 0: its output alone."""
    prompt: str | None = PROMPT
    """One sentence for all samples, as decoding without captions has it; null: the samples' captions. Published: captions of a
    LLaVA-1.5-13B, or one generic sentence."""
    transformer: InfinityTraining = field(default_factory=partial(InfinityTraining, flip_strength=0.0))
    """Stage 2: as Infinity is trained, but without flips of self-correction, since the name of the published checkpoint says so."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("stage", get_args(Stage)),
            ("reduction", ("tokens", "scales")),
            ("loss_scales", ("written", "all")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(allowed)}")
        for name in ("consistency_weight", "map_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be a number of at least 0")
        if self.map_lr is not None and not 0 < self.map_lr < float("inf"):
            raise ConfigError(f"map_lr is {self.map_lr}; it must be a positive number, or null for that of the run")
        if self.trained_blocks is not None and self.trained_blocks < 0:
            raise ConfigError(f"trained_blocks is {self.trained_blocks}; it must be at least 0, or null for all")
        if self.transformer.trained_scales is not None:
            raise ConfigError(
                "transformer.trained_scales is set, and super-resolution needs the last scale: leave it out"
            )
        if self.stage == "map" and self.map_weight:
            raise ConfigError("map_weight belongs to the stage joint, and stage 1 has no other loss: leave it out")
        if self.stage == "joint" and self.consistency_weight:
            raise ConfigError("consistency_weight belongs to the stage map: leave it out")
        degradation_of(self.degradation)

    @property
    def degrading(self) -> DegradationConfig:
        """The degradation."""
        return degradation_of(self.degradation)
