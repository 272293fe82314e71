"""Hyperparameters of Distilled Decoding 1 (arXiv 2412.17153). Imports no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

__all__ = ["CODE", "GUESS", "LPIPS", "VECTOR", "DistilledDecodingConfig"]

CODE, VECTOR, LPIPS, GUESS = "code", "vector", "lpips", "guess"
"""Names of the terms: cross-entropy of the codes, squared error of the vectors, perceptual distance of the images, cross-entropy of first
guesses."""


@dataclass(frozen=True, kw_only=True)
class DistilledDecodingConfig:
    """How pairs of noise and codes become a loss; model, data and optimiser have their own sections.

    The training code was never published: what the paper and the code of sampling leave open is marked as ours.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    timesteps: tuple[int, ...] = (0, 5)
    """t, numbers of units (scales of VAR, codes of LlamaGen) that are clean at the input; those that images are sampled with.
    Published: 0 and 5 (VAR-d16), 0 and 4 (d20, d24), 0 and 80 (LlamaGen)."""
    timestep_probs: tuple[float, ...] | None = None
    """How often each is trained; null: evenly (ours)."""
    split: int = 5
    """Units that are read off the logits; the others are read off the continuous head. Published: 5 (d16), 4 (d20, d24), 80 (LlamaGen-B),
    130 (L)."""
    split_losses: bool = False
    """Train either head on its side of the split alone. False (ours): both on all noisy tokens."""
    ce_weight: float = 1.0
    """Of the cross-entropy (w_ce; ours)."""
    mse_weight: float = 1.0
    """Of the squared error between the continuous head and the code vector (w_mse; ours)."""
    guess_weight: float = 0.0
    """Of the cross-entropy of first guesses, for a student that makes them, and 0 for one that does not (ours)."""
    lpips_weight: float = 0.0
    """Of LPIPS between the images of the continuous head and of the codes (w_p; ours): published are that there is such a term, and
    ``loss_norm=lpips``."""
    lpips: str | None = None
    """File of LPIPS with AlexNet features in safetensors layout; needed where its weight is not 0."""
    lpips_minimum_size: int = 64
    """Smaller images are enlarged to this for LPIPS."""
    lpips_start_step: int = 0
    """Steps before the perceptual term joins (ours)."""
    noise: Literal["paired", "fresh"] = "paired"
    """``paired``: the noise that flows to the codes. ``fresh``: other noise, which says nothing of them; what is learned then is the
    law of each code by itself, the best factorised model, and the control that the method is held against."""
    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once by the loss; null: as many as are fast on the device. Memory only, the result does not change."""

    def __post_init__(self) -> None:
        steps = list(self.timesteps)
        if not steps or steps[0] != 0 or steps != sorted(set(steps)):
            raise ConfigError(f"timesteps are {steps}; give 0 and, ascending, further numbers of units, such as [0, 5]")
        probs = self.timestep_probs
        if probs is not None and not (
            len(probs) == len(steps) and min(probs) >= 0 and math.isclose(sum(probs), 1, abs_tol=1e-6)
        ):
            raise ConfigError(
                f"timestep_probs are {list(probs)} for the timesteps {steps}; give one for each, none negative, together 1"
            )
        if self.split < 0:
            raise ConfigError(
                f"split is {self.split}, but must be at least 0: give how many units are read off the logits"
            )
        if self.noise not in ("paired", "fresh"):
            raise ConfigError(f"noise is {self.noise!r}; choose paired or fresh")
        for name in ("ce_weight", "mse_weight", "lpips_weight", "guess_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}, but must be at least 0: give 0 to leave the term out")
        if not self.coefficients:
            raise ConfigError("ce_weight, mse_weight and lpips_weight are all 0, so that nothing is learned: raise one")
        if self.lpips_weight and self.lpips is None:
            raise ConfigError(
                f"lpips_weight is {self.lpips_weight} and lpips names no file; give the LPIPS weights as safetensors, or set "
                "lpips_weight to 0"
            )
        if self.lpips_start_step < 0:
            raise ConfigError(f"lpips_start_step is {self.lpips_start_step}, but must be at least 0: correct it")
        require_positive(self, "max_logits", "lpips_minimum_size")

    @property
    def coefficients(self) -> Mapping[str, float]:
        """Weights of the terms that are not left out."""
        weights = {
            CODE: self.ce_weight,
            VECTOR: self.mse_weight,
            LPIPS: self.lpips_weight,
            GUESS: self.guess_weight,
        }
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def probs(self) -> tuple[float, ...]:
        """How often each timestep is trained."""
        return self.timestep_probs or (1 / len(self.timesteps),) * len(self.timesteps)
