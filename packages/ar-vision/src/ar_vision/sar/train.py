"""From a run's config to a training job: a trained FlexVAR on stored codes of all sides."""

from dataclasses import dataclass

from ar_core.errors import ConfigError
from ar_core.training import Job

from ..backbones.flexvar.model import FlexVar
from ..backbones.flexvar.train import FlexVarModelConfig, FlexVarRun, stored_sides
from ..backbones.scale_transformer.objective import ScaleObjective
from ..backbones.scale_transformer.run import build_scale_job
from ..scales import ScaleSchedule
from .config import SarConfig
from .exposure_bias import ExposureObjective
from .objective import SarObjective

__all__ = ["SarModelConfig", "SarRun", "build"]


@dataclass(frozen=True)
class SarModelConfig(FlexVarModelConfig):
    """The FlexVAR that is refined: ``path``, the folder of its checkpoint. Nothing is asked of the folder's name: which steps of
    a schedule its weights have seen is a matter of ``train.past_steps``.

    Raises:
        ConfigError: there is no path, or something that only fresh weights have.
    """

    drop_path: float | None = None
    """Rate of stochastic depth in the last block; null: that of the checkpoint, which is 0 for converted weights, since these do
    not tell it. Published: d / 240."""

    def __post_init__(self) -> None:
        if self.path is None or self.scratch is not None or self.gate != FlexVarModelConfig.gate:
            raise ConfigError("SAR refines a trained FlexVAR: give its folder as path, and neither scratch nor gate")
        if self.drop_path is not None and not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is {self.drop_path}; it must be at least 0 and below 1, or null")


@dataclass(frozen=True, kw_only=True)
class SarRun(FlexVarRun):
    """A whole run of SAR. Beside the likelihood, held-out pictures give the exposure bias, scale by scale."""

    model: SarModelConfig
    """What is refined."""
    method: SarConfig
    """The objective; its resolution has no default."""


def build(run: SarRun) -> Job:
    """Build the job of a run.

    Raises:
        ConfigError: resolution, tokenizer and schedules do not fit together, or ``train.past_steps`` and the checkpoint.
        ArError: as `build_scale_job` does.
    """

    def objective(method: SarConfig, model: FlexVar, sides: ScaleSchedule, held_out: bool) -> ScaleObjective:
        if held_out:
            return ExposureObjective(method, model, sides)
        return SarObjective(method, model, sides, step_samples=run.train.batch_size)

    job = build_scale_job(
        run, FlexVar, lambda model, tokenizer: stored_sides(run.method, tokenizer), objective, recipe="sar"
    )
    model = job.models["model"]
    assert isinstance(model, FlexVar)
    if run.model.drop_path is not None:
        model.set_drop_path(run.model.drop_path)
    return job
