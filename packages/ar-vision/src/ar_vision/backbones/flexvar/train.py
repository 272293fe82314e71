"""From a run's config to a training job: FlexVAR on stored codes of all sides."""

from dataclasses import dataclass
from typing import ClassVar

from ar_core.errors import ConfigError
from ar_core.training import Job

from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..scale_transformer.run import ScaleModelConfig, ScaleRun, build_scale_job
from .model import FlexVar
from .objective import FlexVarObjective, FlexVarObjectiveConfig

__all__ = ["FlexVarModelConfig", "FlexVarRun", "build"]


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


def build(run: FlexVarRun) -> Job:
    """Build the job of a run.

    Raises:
        ConfigError: resolution, tokenizer and schedules do not fit together.
        ArError: as `build_scale_job` does.
    """

    def stored(model: FlexVar, tokenizer: Tokenizer) -> ScaleSchedule:
        resolution, cell, largest = run.method.final_resolution, tokenizer.downsampling, run.method.schedules.largest
        if resolution % cell or resolution // cell < largest:
            raise ConfigError(
                f"method.final_resolution is {resolution}, a code of the tokenizer stands for {cell} x {cell} pixels, and schedules "
                f"go up to a side of {largest}: give a multiple of {cell}, at least {largest * cell}"
            )
        return ScaleSchedule.square(*range(1, resolution // cell + 1))

    return build_scale_job(
        run,
        FlexVar,
        stored,
        objective=lambda method, model, sides, held_out: FlexVarObjective(
            method, model, sides, step_samples=None if held_out else run.train.batch_size
        ),
    )
