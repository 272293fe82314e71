"""Hyperparameters of CCA (arXiv 2410.09347). Imports no torch."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive
from ar_core.errors import ConfigError

from ..backbones.flexvar.schedule_sampler import ScheduleSampler

__all__ = ["CcaConfig", "CcaPairs"]


@dataclass(frozen=True, kw_only=True)
class CcaPairs:
    """Which pairs of image and class are compared: what the log-probabilities of the starting model depend on.

    Raises:
        ConfigError: a value is out of range.
    """

    uncond_ratio: float = 0.1
    """u: share of the samples whose two classes both become the null class, which is then only attracted to the data: that keeps the
    unconditional model, and with it guidance, alive. 0, and any value under dpo: a checkpoint that must not be guided, and says so."""

    negative_group: int | None = None
    """Neighbouring samples of a step among which classes are exchanged: each is contrasted with the class of the next, the last with
    that of the first. null: all samples of the step, whatever their split into micro-batches and ranks. Published: the micro-batch
    of one device, 2 for LlamaGen, so that every class meets one other."""

    schedules: ScheduleSampler | None = None
    """Of a FlexVAR: what the scales of each step are drawn from; null: its own scales. Both rows of a pair have the same."""

    reference_batch_size: int = field(default=1, metadata=FREE)
    """Pairs in a forward pass of the starting model. At 1 what a pair gets is a function of the pair alone, bit by bit, so that stored
    values are those of a run under any split; more is faster on a GPU and equal up to rounding."""

    max_logits: int | None = field(default=None, metadata=FREE)
    """Most logits held at once; null: as many as are fast on the device. Memory only."""

    def __post_init__(self) -> None:
        require_positive(self, "reference_batch_size", "max_logits")
        if not 0 <= self.uncond_ratio <= 1:
            raise ConfigError(f"uncond_ratio is {self.uncond_ratio}; it must lie in [0, 1]")
        if self.negative_group is not None and self.negative_group < 2:
            raise ConfigError(
                f"negative_group is {self.negative_group}, and a sample needs another one whose class it is contrasted with: give 2 "
                "or more, or null"
            )

    def group(self, batch_size: int) -> int:
        """Return how many samples exchange their classes in a run with so many samples a step.

        Raises:
            ConfigError: a step has one sample, or groups do not divide it.
        """
        if batch_size < 2:
            raise ConfigError(
                f"batch_size is {batch_size}, and every sample is contrasted with the class of another one of its step: give 2 or "
                "more (micro-batches may have 1)"
            )
        if self.negative_group is not None and batch_size % self.negative_group:
            raise ConfigError(
                f"negative_group is {self.negative_group} and batch_size {batch_size}: groups do not cross steps, give a divisor"
            )
        return self.negative_group or batch_size


@dataclass(frozen=True, kw_only=True)
class CcaConfig(CcaPairs):
    """The loss over pairs, with one formula for all backbones and all u.

    Raises:
        ConfigError: a value is out of range, or settings contradict each other.
    """

    negative_weight: float
    """λ: weight of mismatched pairs; large for fidelity, small for diversity, and no default, since published values go from 1 (with
    guidance) to 1000."""

    beta: float = 0.02
    """β: scale of log-ratios, about 1/s of the guidance that is imitated. Below 5e-3 the loss no longer saturates, above 0.1 it does so
    at once: for images of 256 to 680 codes; log-ratios grow with the number of codes."""

    loss: Literal["cca", "dpo", "unlearning"] = "cca"
    """``cca``: both pairs are classified on their own. Ablations of the paper: ``dpo`` compares the two (λ has no part in it),
    ``unlearning`` is linear."""

    normalize: bool = True
    """Divide by max(λ, 1), which leaves the step size to the learning rate. Published with u > 0 only, never for dpo."""

    same_class: Literal["positive", "negative"] = "positive"
    """What a mismatched pair is whose class happens to be the sample's own. ``negative``: as published with u = 0."""

    reference_dropout: Literal["off", "shared", "independent"] = "off"
    """How the starting model runs: without dropout; with the very masks of the trained model, so that log-ratios are 0 at first; or with
    its own, as published, which makes log-ratios noisy."""

    dropout: float | None = None
    """Dropout of the trained model (LlamaGen: of tokens, attention and feed-forward outputs, published 0.1; VAR: rate of stochastic depth
    in the last block, published depth / 240, and 0 for d16); null: the checkpoint's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.beta > 0 and math.isfinite(self.beta)):
            raise ConfigError(f"beta is {self.beta}; it must be a positive number")
        if not (self.negative_weight >= 0 and math.isfinite(self.negative_weight)):
            raise ConfigError(f"negative_weight is {self.negative_weight}; it must be a number of at least 0")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be at least 0 and below 1, or null")

    @property
    def coefficient(self) -> float:
        """What the mean loss over pairs is multiplied by."""
        return 1 / max(self.negative_weight, 1) if self.normalize and self.loss != "dpo" else 1.0

    @property
    def trains_null(self) -> bool:
        """Whether the null class learns: dpo compares a null sample with itself, which teaches nothing."""
        return self.uncond_ratio > 0 and self.loss != "dpo"
