"""Hyperparameters of Infinity's training (arXiv 2412.04431). Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["InfinityTraining"]


@dataclass(frozen=True)
class InfinityTraining:
    """What is particular to the method; the defaults are those of the published recipe.

    Raises:
        ConfigError: a value is out of range.
    """

    flip_strength: float = 0.3
    """Largest share of bits that self-correction flips (noise_apply_strength), in steps of 0.01; 0 is plain teacher forcing."""
    flip_scales: int = 13
    """Scales in which bits are flipped, from the coarsest on (noise_apply_layers)."""
    flip_rates: Literal["sample", "batch"] = "sample"
    """Who shares the rate that each scale draws. ``sample``: none, so that a run does not depend on how batches are split.
    ``batch``: all samples of a micro-batch, as published."""
    condition_dropout: float = 0.1
    """Share of samples whose text is replaced by the learned unconditional one (cfg); never in evaluation."""
    bit_loss: Literal["mean", "sum"] = "mean"
    """Over the bits of a token (bitloss_type)."""
    weighting: Literal["scales", "tokens"] = "scales"
    """``scales``: a token of scale k counts sqrt(L_K / L_k), normalised (reweight_loss_by_scale, whose published code fails at this
    point). ``tokens``: all tokens alike."""
    gradient_checkpointing: bool = field(default=False, metadata=FREE)
    """Recompute every block in the backward pass (published: full-block); memory only."""
    trained_scales: int | None = None
    """Train on so many scales, from the coarsest on (always_training_scales); null: all."""

    def __post_init__(self) -> None:
        for name in ("flip_strength", "condition_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be in [0, 1]")
        if abs(100 * self.flip_strength - round(100 * self.flip_strength)) > 1e-6:
            raise ConfigError(
                f"flip_strength is {self.flip_strength}; rates are drawn in steps of 0.01, give a multiple"
            )
        if self.flip_scales < 0:
            raise ConfigError(f"flip_scales is {self.flip_scales}; it must be at least 0")
        require_positive(self, "trained_scales")
        choices = {"flip_rates": ("sample", "batch"), "bit_loss": ("mean", "sum"), "weighting": ("scales", "tokens")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(allowed)}")
