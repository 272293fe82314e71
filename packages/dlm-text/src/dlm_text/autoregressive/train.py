"""From a run's config to a training job: next-token training from scratch or from a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from ar_core.corruption import SampleRng
from ar_core.data import Sample, StoredSource, TextDataConfig, build_source, find_task
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig, build_model, save_pretrained
from ar_core.training import Job, TrainConfig
from torch import nn

from .config import AutoregressiveConfig
from .objective import TERM, AutoregressiveObjective

__all__ = ["AutoregressiveRun", "EvaluationConfig", "build", "causal_loss"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on held-out rows, every `train.eval_every` steps.

    Raises:
        ConfigError: a value is out of range.
    """

    rows: int = 64
    """Held-out rows, the first of the split; fewer if there are fewer."""

    batch_size: int = 8
    """Rows of a forward pass; memory only."""

    def __post_init__(self) -> None:
        for name in ("rows", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1: give a positive integer")


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
    tokenizer = find_task(run.data.task).tokenizer() if run.data.task is not None else None
    loaded = build_model(run.model, seed=run.train.seed, tokenizer=tokenizer)
    model, tokenizer = loaded.model, loaded.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"the model {loaded.source!r} comes without a tokenizer, which data of kind {run.data.kind!r} need: add "
            "tokenizer.json to its folder"
        )
    context = model.config.get_text_config().max_position_embeddings
    if run.data.seq_len > context:
        raise ConfigError(
            f"data.seq_len is {run.data.seq_len} and the model's context only {context}: set seq_len to {context} or less"
        )
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    source_of = partial(build_source, run.data, tokenizer, seed=run.train.seed, pad_id=pad_id)

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


@torch.no_grad()
def causal_loss(model: nn.Module, samples: list[Sample], config: AutoregressiveConfig, *, batch_size: int = 8) -> float:
    """Next-token cross-entropy in nats per supervised token.

    Args:
        model: the causal LM, in eval mode.
        samples: held-out rows.
        config: how rows are read.
        batch_size: rows of a forward pass; memory only.
    """
    objective = AutoregressiveObjective(config)
    device = next(model.parameters()).device
    total, weight = 0.0, 0.0
    for start in range(0, len(samples), batch_size):
        prepared = objective.prepare(samples[start : start + batch_size], SampleRng(seed=0)).to(device)
        total += objective.sums({"model": model}, prepared)[TERM].item()
        weight += prepared.weights[TERM]
    return total / weight


def _evaluation(run: AutoregressiveRun, model: nn.Module, samples: list[Sample]) -> Callable[[], Mapping[str, float]]:
    def evaluate() -> Mapping[str, float]:
        return {"causal_ce": causal_loss(model, samples, run.method, batch_size=run.evaluation.batch_size)}

    return evaluate
