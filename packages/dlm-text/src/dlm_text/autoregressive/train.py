"""From a run's config to a training job: next-token training from scratch or from a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from ar_core.data import Sample, StoredSource, TextDataConfig, build_source
from ar_core.hf import ModelConfig, save_pretrained
from ar_core.training import EvaluationConfig, Job, TrainConfig, mean_loss
from torch import nn

from dlm_text.text_model import build_text_model

from .config import AutoregressiveConfig
from .objective import TERM, AutoregressiveObjective

__all__ = ["AutoregressiveRun", "EvaluationConfig", "build", "causal_loss"]


@dataclass(frozen=True)
class AutoregressiveRun:
    """A whole run, section by section, as a YAML file holds it."""

    model: ModelConfig
    """What is trained: fresh weights or a checkpoint."""
    data: TextDataConfig
    """What it is trained on; `seq_len` is L."""
    method: AutoregressiveConfig = field(default_factory=AutoregressiveConfig)
    """The objective."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""


def build(run: AutoregressiveRun) -> Job:
    """Load or make the model, open the data.

    Raises:
        ConfigError: there is no tokenizer, or rows are longer than the model's context.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_text_model(run.model, run.data, seed=run.train.seed)
    # What fills the last row lies behind every token that learns: any id will do.
    source_of = partial(build_source, run.data, tokenizer, seed=run.train.seed, pad_id=0)

    def save(directory: Path) -> None:
        save_pretrained(model, directory, tokenizer=tokenizer)

    evaluate = None
    if run.train.eval_every is not None:
        held_out = source_of(split="held_out")
        rows = held_out.once() if isinstance(held_out, StoredSource) else held_out.open(0)
        evaluate = _evaluation(run, model, list(islice(rows, run.evaluation.rows)))
    return Job(
        objective=AutoregressiveObjective(run.method),
        models={"model": model},
        source=source_of(),
        save=save,
        evaluate=evaluate,
    )


def causal_loss(model: nn.Module, samples: list[Sample], config: AutoregressiveConfig, *, batch_size: int = 8) -> float:
    """Next-token cross-entropy in nats per supervised token.

    Args:
        model: the causal LM, in eval mode.
        samples: held-out rows.
        config: how rows are read.
        batch_size: rows of a forward pass; memory only.
    """
    return mean_loss(AutoregressiveObjective(config), {"model": model}, samples, batch_size=batch_size)[TERM]


def _evaluation(run: AutoregressiveRun, model: nn.Module, samples: list[Sample]) -> Callable[[], Mapping[str, float]]:
    def evaluate() -> Mapping[str, float]:
        return {"causal_ce": causal_loss(model, samples, run.method, batch_size=run.evaluation.batch_size)}

    return evaluate
