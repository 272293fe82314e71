"""From a run's config to a training job: FlexVAR on stored codes of all sides."""

from dataclasses import dataclass
from typing import ClassVar

from ar_core.errors import ConfigError
from ar_core.training import Job

from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..scale_transformer.run import ScaleModelConfig, ScaleRun, build_scale_job
from .model import FlexVar
from .objective import FlexVarObjective
from .objective_config import FlexVarObjectiveConfig

__all__ = ["FlexVarModelConfig", "FlexVarRun", "build", "stored_sides"]


@dataclass(frozen=True)
class FlexVarModelConfig(ScaleModelConfig):
    """A FlexVAR with fresh weights (settings of `FlexVarConfig`) or from a checkpoint.

    Raises:
        ConfigError: both or neither are given, or the shape is none.
    """

    kind: ClassVar[str] = "flexvar"


@dataclass(frozen=True, kw_only=True)
class FlexVarRun(ScaleRun):
    """A whole run of FlexVAR."""

    model: FlexVarModelConfig
    """What is trained."""
    method: FlexVarObjectiveConfig
    """The objective; its resolution has no default."""


def stored_sides(method: FlexVarObjectiveConfig, tokenizer: Tokenizer) -> ScaleSchedule:
    """Return the sides 1 to S whose codes the samples of a run carry.

    Args:
        method: resolution, and the schedules that are drawn.
        tokenizer: of the run.

    Raises:
        ConfigError: these do not fit together.
    """
    resolution, cell, largest = method.final_resolution, tokenizer.downsampling, method.schedules.largest
    if resolution % cell or resolution // cell < largest:
        raise ConfigError(
            f"method.final_resolution is {resolution}, a code of the tokenizer stands for {cell} x {cell} pixels, and schedules "
            f"go up to a side of {largest}: give a multiple of {cell}, at least {largest * cell}"
        )
    return ScaleSchedule.square(*range(1, resolution // cell + 1))


def build(run: FlexVarRun) -> Job:
    """Build the job of a run.

    Raises:
        ConfigError: resolution, tokenizer and schedules do not fit together.
        ArError: as `build_scale_job` does.
    """
    return build_scale_job(
        run,
        FlexVar,
        lambda model, tokenizer: stored_sides(run.method, tokenizer),
        objective=lambda method, model, sides, held_out: FlexVarObjective(
            method, model, sides, step_samples=None if held_out else run.train.batch_size
        ),
    )
