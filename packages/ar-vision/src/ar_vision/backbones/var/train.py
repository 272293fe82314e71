"""From a run's config to a training job: VAR on stored codes."""

from dataclasses import dataclass
from typing import ClassVar

from ar_core.training import Job

from ..scale_transformer.run import ScaleModelConfig, ScaleRun, build_scale_job
from .model import Var
from .objective import VarObjective

__all__ = ["VarModelConfig", "VarRun", "build"]


@dataclass(frozen=True)
class VarModelConfig(ScaleModelConfig):
    """A VAR with fresh weights (settings of `VarConfig`) or from a checkpoint.

    Raises:
        ConfigError: both or neither are given, or the shape is none.
    """

    kind: ClassVar[str] = "var"


@dataclass(frozen=True, kw_only=True)
class VarRun(ScaleRun):
    """A whole run of VAR."""

    model: VarModelConfig
    """What is trained."""


def build(run: VarRun) -> Job:
    """Build the job of a run.

    Raises:
        ArError: as `build_scale_job` does.
    """
    return build_scale_job(
        run,
        Var,
        stored=lambda model, tokenizer: model.schedule,
        objective=lambda method, model, stored, held_out: VarObjective(method, model),
    )
