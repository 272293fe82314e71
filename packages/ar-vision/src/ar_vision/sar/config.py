"""Hyperparameters of SAR."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ar_core.errors import ConfigError

from ..backbones.flexvar.objective_config import FlexVarObjectiveConfig
from ..decoding.guidance import require_guidance
from ..decoding.image_sampler import ImageSampler

__all__ = ["Rollout", "RolloutSampling", "SarConfig", "Target"]

Rollout: TypeAlias = Literal["full", "released", "single"]
"""Which transitions between scales the second pass is fed with rolled-out codes: all, the last one, or one that is drawn."""
Target: TypeAlias = Literal["teacher", "gt", "soft"]
"""What the second pass learns: the codes that the first pass rolled out, those of the image, or the first pass's whole
distribution.
"""
RolloutSampling: TypeAlias = Literal["sample", "argmax"]
"""How the codes that the second pass is fed with are chosen."""


@dataclass(frozen=True, kw_only=True)
class SarConfig(FlexVarObjectiveConfig):
    """SAR (arXiv 2512.06421) on top of FlexVAR's training, whose settings stay.

    Which schedules are drawn, the same for all ranks and micro-batches of a step: ``schedules.cut`` is ``reference`` or
    ``keep_last``, and ``schedules.fixed`` draws none.

    Raises:
        ConfigError: a value is out of range.
    """

    sigma: float = 0.01
    """Weight of the student-forcing loss; 0 is plain FlexVAR training, to the bit, with no rollout and no second pass. All
    published scripts: 0.01. (The paper's own symbol and value could not be read.)"""

    rollout: Rollout = "full"
    """Which transitions the second pass is fed with rolled-out codes, and what it sees beside them. ``full``: all of them, under the
    causal mask of scales, as the paper's figure draws it. ``released``: the last one alone, behind the class token, without the
    scales before it, as the published trainer does. ``single``: a random one, drawn for each step, in the layout of
    ``released``."""

    target: Target = "teacher"
    """What the second pass learns. ``teacher``: the codes that the first pass rolled out (contrastive student-forcing loss).
    ``gt``: the ground truth. ``soft``: the first pass's whole distribution without guidance, as a constant (ours)."""

    rollout_sampling: RolloutSampling = "sample"
    """``sample`` draws codes from the guided, filtered distribution, as every released run does. ``argmax`` takes the most
    probable ones, as the published scripts say; with ``rollout_guidance`` 1 it is the cheap option."""

    rollout_guidance: float = 2.2
    """g of the rollout; 1 means none, and then no pass of the null class is run. Scale k of K is guided by
    1 + (g - 1) (1 + k / (K - 1)) / 2. Published code counts from 0: its ``sf_cfg_scale`` is g - 1, and 1.2 in every released run,
    whatever the scripts set."""

    rollout_top_k: int | None = 900
    """Codes that ``sample`` draws from. Released runs: 900."""

    rollout_top_p: float | None = 0.96
    """Mass that ``sample`` draws from, by VAR's convention. Released runs: 0.96."""

    share_label_dropout: bool = True
    """Whether both passes leave out the same classes. The published trainer draws anew for the second pass, which then may learn
    under another condition than the one that its targets were rolled out under: false, for parity."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise ConfigError(f"sigma is {self.sigma}; it must be a number of at least 0, and 0 is plain training")
        for name, choices in (("rollout", Rollout), ("target", Target), ("rollout_sampling", RolloutSampling)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ConfigError(f"{name} is {value!r}; choose {', '.join(get_args(choices))}")
        require_guidance(self.rollout_guidance, "rollout_guidance")
        _ = self.sampler

    @property
    def sampler(self) -> ImageSampler:
        """How codes are rolled out."""
        temperature = 0.0 if self.rollout_sampling == "argmax" else 1.0
        return ImageSampler(
            convention="var", temperature=temperature, top_k=self.rollout_top_k, top_p=self.rollout_top_p
        )
