"""From a run's config to a training job: FlexVAR on stored codes of all sides."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig
from torch import nn

from ...checkpoint import fingerprint
from ...data.codes.config import CodeDataConfig
from ...data.codes.source import build_code_source
from ...scales import ScaleSchedule
from ..scale_transformer.run import (
    EvaluationConfig,
    ScaleModelConfig,
    build_model,
    evaluation,
    load_tokenizer,
    saver,
)
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


@dataclass(frozen=True)
class FlexVarRun:
    """A whole run, section by section, as a YAML file holds it."""

    tokenizer: str
    """Folder of the tokenizer's checkpoint; `~` and `$NAME` are expanded."""
    model: FlexVarModelConfig
    """What is trained."""
    data: CodeDataConfig
    """Codes of the scales 1, 2, 3, ... up to the grid of the images, which the recipe `image_codes` made with this tokenizer."""
    method: FlexVarObjectiveConfig
    """The objective; its resolution has no default."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements, on the default schedule."""


def build(run: FlexVarRun) -> Job:
    """Load the tokenizer, make or load the model, open the codes.

    Raises:
        ConfigError: sections contradict each other.
        ArError: as loading model, tokenizer and data does.
    """
    loaded, tokenizer = load_tokenizer(run.tokenizer)
    model = build_model(run.model, FlexVar, loaded, seed=run.train.seed)
    models: dict[str, nn.Module] = {"model": model, "tokenizer": loaded.model}
    paired, stored = fingerprint(loaded.model), _stored(run, tokenizer.downsampling)
    source_of = partial(
        build_code_source,
        run.data,
        seed=run.train.seed,
        tokenizer=paired,
        schedule=stored,
        num_classes=model.config.num_classes,
        vocab_size=tokenizer.vocab_size,
    )
    source = source_of()
    evaluate = None
    if run.train.eval_every is not None:
        method = replace(run.method, label_dropout=0.0, accuracy=True)
        measured = FlexVarObjective(method, model, stored, step_samples=None)
        evaluate = evaluation(measured, models, source_of(split="held_out"), run.evaluation)
    return Job(
        objective=FlexVarObjective(run.method, model, stored, step_samples=run.train.batch_size),
        models=models,
        source=source,
        save=saver(model, loaded, recipe="flexvar", data=source.describe(), steps=run.train.steps),
        evaluate=evaluate,
        identity={"tokenizer": paired},
    )


def _stored(run: FlexVarRun, downsampling: int) -> ScaleSchedule:
    side, rest = divmod(run.method.final_resolution, downsampling)
    largest = run.method.schedules.largest
    if rest or side < largest:
        raise ConfigError(
            f"method.final_resolution is {run.method.final_resolution}, a code of the tokenizer stands for {downsampling} x "
            f"{downsampling} pixels, and schedules go up to a side of {largest}: give a multiple of {downsampling}, at least "
            f"{largest * downsampling}"
        )
    return ScaleSchedule.square(*range(1, side + 1))
