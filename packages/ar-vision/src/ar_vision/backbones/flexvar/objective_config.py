"""Hyperparameters of FlexVAR's training. Imports no torch."""

from dataclasses import dataclass, field

from ..scale_transformer.objective_config import ScaleObjectiveConfig
from .schedule_sampler import ScheduleSampler

__all__ = ["FlexVarObjectiveConfig"]


@dataclass(frozen=True, kw_only=True)
class FlexVarObjectiveConfig(ScaleObjectiveConfig):
    """Hyperparameters of FlexVAR's training.

    Raises:
        ConfigError: a value is out of range.
    """

    final_resolution: int
    """Side in pixels of the images that the codes were made of. No default: the paper (arXiv 2502.20313) trains on at most 256, the
    released settings say 512, and which of them the published weights saw is not known."""

    schedules: ScheduleSampler = field(default_factory=ScheduleSampler)
    """What schedules are drawn from."""
