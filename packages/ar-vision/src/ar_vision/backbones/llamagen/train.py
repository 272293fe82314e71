"""From a run's config to a training job: a LlamaGen from scratch, on codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ar_core.config import FREE
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Job, TrainConfig, mean_loss
from ar_core.training.job import Source

from ...checkpoint import save_checkpoint
from ..generated_codes import GeneratedCodes, GeneratedSource
from .config import LlamaGenConfig, LlamaGenTraining
from .model import LlamaGen
from .objective import TERM, LlamaGenObjective

__all__ = ["EvaluationConfig", "LlamaGenRun", "build", "held_out_nll"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on held-out images, every `train.eval_every` steps: `held_out_nll`.

    Raises:
        ConfigError: a value is out of range.
    """

    images: int = 256
    """Held-out images, the first of the split; fewer if there are fewer."""
    batch_size: int = field(default=32, metadata=FREE)
    """Images of a forward pass; memory only."""

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1: give a positive integer")


@dataclass(frozen=True)
class LlamaGenRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: LlamaGenConfig
    """What is trained, from fresh weights."""
    data: GeneratedCodes
    """What it is trained on."""
    method: LlamaGenTraining = field(default_factory=LlamaGenTraining)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""


def build(run: LlamaGenRun) -> Job:
    """Make the model, open the data.

    Raises:
        ConfigError: the data do not have what the model is conditioned on.
        ArError: as opening the data does.
    """
    model = LlamaGen(run.model)
    model.initialize(SampleRng(run.train.seed).row(0, "weights"))
    if run.train.eval_every is None:
        evaluate = None
    else:
        held_out = list(islice(_source(run, "held_out").open(0), run.evaluation.images))

        def evaluate() -> Mapping[str, float]:
            return {"held_out_nll": held_out_nll(model, held_out, batch_size=run.evaluation.batch_size)}

    def save(directory: Path) -> None:
        save_checkpoint(directory, model, provenance={"recipe": "llamagen"})

    return Job(
        objective=LlamaGenObjective(run.model, run.method),
        models={"model": model},
        source=_source(run, "train"),
        save=save,
        evaluate=evaluate,
    )


def held_out_nll(model: LlamaGen, samples: list[Any], *, batch_size: int = 32) -> float:
    """Negative log-likelihood in nats per code, each image under its own condition: none is ever dropped.

    Args:
        model: in eval mode.
        samples: as the objective takes them.
        batch_size: images of a forward pass; memory only.
    """
    objective = LlamaGenObjective(model.config, replace(LlamaGenTraining(), condition_dropout=0.0))
    return mean_loss(objective, {"model": model}, samples, batch_size=batch_size)[TERM]


def _source(run: LlamaGenRun, split: Literal["train", "held_out"]) -> Source:
    if run.model.condition == "text":
        raise ConfigError("model.condition is text and generated codes have classes: set it to class")
    return GeneratedSource(
        run.data,
        classes=run.model.num_classes,
        length=run.model.codes,
        vocab_size=run.model.vocab_size,
        split=split,
        seed=run.train.seed,
    )
