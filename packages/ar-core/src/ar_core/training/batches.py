"""Whole optimiser steps as a data loader yields them."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..corruption import SampleRng
from ..errors import ArError, ConfigError, DataError
from .config import TrainConfig
from .job import Job
from .objective import Objective, Prepared
from .ranks import Ranks

__all__ = ["StepDataset", "step_loader"]


@dataclass(frozen=True)
class _Failed:
    """An input error on its way from a worker to the loop, where torch would wrap a traceback into its sentence."""

    kind: type[ArError]
    sentence: str


class StepDataset(IterableDataset[Any]):
    """This rank's micro-batches of one optimiser step after another: ``list[Prepared]``.

    Rank r of R takes the r-th of R equal, contiguous shares of a step's samples. Worker w of W prepares every W-th
    step, so that a loader that asks its workers in turn yields the steps in order.

    Args:
        job: The objective and the samples.
        config: The run.
        ranks: The processes that share a step.
        start: Number of the first step.

    Raises:
        ConfigError: The batch size does not divide into equal shares.
    """

    def __init__(self, job: Job, config: TrainConfig, ranks: Ranks, start: int = 0) -> None:
        if config.batch_size % ranks.size:
            raise ConfigError(
                f"batch_size is {config.batch_size} and the run has {ranks.size} ranks: every rank takes an equal "
                "share of a step, choose a multiple"
            )
        self.objective: Objective = job.objective
        self.source = job.source
        self.config = config
        self.ranks = ranks
        self.start = start

    def __iter__(self) -> Iterator[list[Prepared] | _Failed]:
        """Yield the steps of this worker, up to the last step of the run or the first error of its input."""
        info = get_worker_info()
        if info is None:
            yield from self._steps(0, 1)
            return
        try:
            yield from self._steps(info.id, info.num_workers)
        except ArError as error:
            yield _Failed(type(error), str(error))

    def _steps(self, worker: int, workers: int) -> Iterator[list[Prepared]]:
        batch, share = self.config.batch_size, self.config.batch_size // self.ranks.size
        micro = self.config.micro_batch_size or share
        rng = SampleRng(self.config.seed)
        samples = self.source.open(self.start * batch)
        for step in range(self.start, self.config.steps):
            taken = list(islice(samples, batch))
            if (step - self.start) % workers != worker:
                continue
            _check(taken, step * batch, batch)
            mine = taken[self.ranks.rank * share :][:share]
            yield [self.prepare(mine[a : a + micro], rng) for a in range(0, share, micro)]

    def prepare(self, samples: list[Any], rng: SampleRng) -> Prepared:
        """Return the micro-batch of some samples, with its tokens counted."""
        prepared = self.objective.prepare(samples, rng)
        if "tokens" not in prepared.meta:
            prepared.meta["tokens"] = sum(sample["ids"].numel() for sample in samples if "ids" in sample)
        return prepared


def _check(samples: list[Mapping[str, Any]], start: int, count: int) -> None:
    if len(samples) < count:
        raise DataError(
            f"the samples ended at number {start + len(samples)}: a training source goes on without end, repeat the "
            "data"
        )
    for number, sample in enumerate(samples, start):
        if sample["index"] != number:
            raise DataError(
                f"sample number {number} of the run carries index {sample['index']}: noise is keyed by the index, so "
                "it must be the sample's number in the run"
            )


class StepLoader(DataLoader[Any]):
    """Loader of whole optimiser steps; what a worker cannot prepare is raised here as the error it was there."""

    def __iter__(self) -> Any:
        """Yield ``list[Prepared]`` after ``list[Prepared]``."""
        for step in super().__iter__():
            if isinstance(step, _Failed):
                raise step.kind(step.sentence)
            yield step


def step_loader(dataset: StepDataset) -> DataLoader[Any]:
    """Return the loader of a run: one ``list[Prepared]`` an optimiser step, in order, for any number of workers."""
    return StepLoader(
        dataset,
        batch_size=None,
        num_workers=dataset.config.num_workers,
        worker_init_fn=_leave_signals_to_the_loop if dataset.config.num_workers else None,
    )


def _leave_signals_to_the_loop(worker: int) -> None:
    # Ctrl-C reaches the whole process group, and the loop still wants the step in flight.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
