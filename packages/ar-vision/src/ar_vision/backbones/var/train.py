"""From a run's config to a training job: VAR on stored codes."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from ar_core.training import Job, TrainConfig
from torch import nn

from ...checkpoint import fingerprint
from ...data.codes.config import CodeDataConfig
from ...data.codes.source import build_code_source
from ..scale_transformer.objective_config import ScaleObjectiveConfig
from ..scale_transformer.run import (
    EvaluationConfig,
    ScaleModelConfig,
    build_model,
    evaluation,
    load_tokenizer,
    saver,
)
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


@dataclass(frozen=True)
class VarRun:
    """A whole run, section by section, as a YAML file holds it."""

    tokenizer: str
    """Folder of the tokenizer's checkpoint; `~` and `$NAME` are expanded."""
    model: VarModelConfig
    """What is trained."""
    data: CodeDataConfig
    """Codes of the model's scales, which the recipe `image_codes` made with this tokenizer."""
    method: ScaleObjectiveConfig = field(default_factory=ScaleObjectiveConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""


def build(run: VarRun) -> Job:
    """Load the tokenizer, make or load the model, open the codes.

    Raises:
        ConfigError: sections contradict each other.
        ArError: as loading model, tokenizer and data does.
    """
    loaded, tokenizer = load_tokenizer(run.tokenizer)
    model = build_model(run.model, Var, loaded, seed=run.train.seed)
    models: dict[str, nn.Module] = {"model": model, "tokenizer": loaded.model}
    paired = fingerprint(loaded.model)
    source_of = partial(
        build_code_source,
        run.data,
        seed=run.train.seed,
        tokenizer=paired,
        schedule=model.schedule,
        num_classes=model.config.num_classes,
        vocab_size=tokenizer.vocab_size,
    )
    source = source_of()
    evaluate = None
    if run.train.eval_every is not None:
        measured = VarObjective(replace(run.method, label_dropout=0.0, accuracy=True), model)
        evaluate = evaluation(measured, models, source_of(split="held_out"), run.evaluation)
    return Job(
        objective=VarObjective(run.method, model),
        models=models,
        source=source,
        save=saver(model, loaded, recipe="var", data=source.describe(), steps=run.train.steps),
        evaluate=evaluate,
        identity={"tokenizer": paired},
    )
