"""The stage: numbers of samples in, chunks of log-probabilities out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import torch
from ar_core.config import require_positive
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Chunk, StageConfig, StageJob
from ar_core.training.device import choose_device
from torch import Tensor

from ...data.codes.config import CodeDataConfig
from ..config import CcaPairs
from ..objective import laid_of, prepare_pairs
from ..pairs import PairSource
from ..reference import reference_log_probs
from ..start import open_start
from ..stored import RECORD

__all__ = ["CcaLogProbsRun", "PlannedRun", "build"]


@dataclass(frozen=True)
class PlannedRun:
    """The training run whose pairs these are: give it the settings of its section `train`.

    Raises:
        ConfigError: a value is out of range.
    """

    steps: int
    """Optimiser steps; with the batch size, how many pairs there are. A shorter run finds its pairs among them."""
    batch_size: int
    """Samples of a step."""
    seed: int = 0
    """Of the order of the data, the augmentations and the null classes."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """How the layers compute."""

    def __post_init__(self) -> None:
        require_positive(self, "steps", "batch_size")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {self.precision!r} and must be fp32 or bf16")


@dataclass(frozen=True, kw_only=True)
class CcaLogProbsRun:
    """A whole stage, section by section, as a YAML file holds it."""

    model: str
    """Folder of the generator that training will start from; `~` and `$NAME` are expanded."""
    tokenizer: str
    """Folder of its tokenizer."""
    data: CodeDataConfig
    """The codes."""
    stage: StageConfig
    """Where the log-probabilities go, and which share of them."""
    train: PlannedRun
    """Which pairs."""
    method: CcaPairs = field(default_factory=CcaPairs)
    """How they are made."""


def build(run: CcaLogProbsRun) -> StageJob:
    """Load the model and pair its data.

    Raises:
        ArError: as `open_start` does.
    """
    plan, pairs = run.train, run.method
    start = open_start(run.model, run.tokenizer, run.data, pairs, seed=plan.seed, batch_size=plan.batch_size)
    device = choose_device(run.stage.device)
    models = {name: model.to(device) for name, model in start.frozen().items()}
    source = PairSource(start.source(split="train"), pairs.group(plan.batch_size))
    rng = SampleRng(plan.seed)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=plan.precision == "bf16")

    def make(first: int, numbers: Sequence[int]) -> Chunk:
        labels: list[Tensor] = []
        found: list[Tensor] = []
        samples = source.open(first)
        for count in _passes(first, len(numbers), pairs.reference_batch_size, plan.batch_size):
            prepared = prepare_pairs(list(islice(samples, count)), rng, start.likelihood, pairs).to(device)
            both = prepared.tensors["labels"]
            with autocast:
                scores = reference_log_probs(
                    start.likelihood, models, laid_of(prepared), both, batch_size=count, max_logits=pairs.max_logits
                )
            labels.append(both.T.cpu())
            found.append(scores.T.cpu())
        tensors = {"labels": torch.cat(labels), "log_probs": torch.cat(found)}
        return Chunk({name: one.contiguous() for name, one in tensors.items()}, {"pairs": len(numbers)})

    total = plan.steps * plan.batch_size
    facts = start.facts(pairs, seed=plan.seed, batch_size=plan.batch_size, precision=plan.precision)
    return StageJob(items=range(total), make=make, total=total, identity={RECORD: facts, "count": total})


def _passes(first: int, count: int, size: int, batch_size: int) -> Iterator[int]:
    """Sizes of forward passes over samples from number ``first`` on: none crosses a step, whose samples share a schedule."""
    place, end = first, first + count
    while place < end:
        taken = min(size, batch_size - place % batch_size, end - place)
        yield taken
        place += taken
