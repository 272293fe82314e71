"""The micro-batches that a plan looks at."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..corruption import SampleRng
from ..training.batches import StepDataset
from ..training.config import TrainConfig
from ..training.job import Job
from ..training.objective import Prepared
from ..training.ranks import Ranks

__all__ = ["StepSamples", "step_samples"]

MICRO_BATCHES, SAMPLES = 8, 64
"""Most micro-batches that are prepared, and samples beyond which no further one is."""


@dataclass(frozen=True)
class StepSamples:
    """Micro-batches of one process at the end of a run.

    Args:
        prepared: the first of the data.
        count: how many a step has.
    """

    prepared: list[Prepared]
    count: int

    @property
    def chosen(self) -> list[Prepared]:
        """A step of the least length whose memory is that of a whole one: the largest, behind an ordinary one if there are several."""
        largest = max(self.prepared, key=size)
        return [largest] if self.count == 1 else [self.prepared[0], largest]

    @property
    def uneven(self) -> bool:
        """Whether they differ in size."""
        return len({size(one) for one in self.prepared}) > 1

    @property
    def tokens(self) -> int:
        """Tokens of a step, as the throughput meter counts them; 0 where samples have none."""
        return int(sum(one.meta["tokens"] for one in self.prepared) * self.count // len(self.prepared))

    def of_a_step(self, chosen: int) -> int:
        """Scale what grows with tokens (or bytes, where samples have none) from the chosen micro-batches to a step."""
        work = [one.meta["tokens"] or size(one) for one in self.prepared]
        taken = sum(one.meta["tokens"] or size(one) for one in self.chosen)
        return chosen * sum(work) * self.count // (len(work) * taken)


def step_samples(job: Job, config: TrainConfig, ranks: Ranks) -> StepSamples:
    """Prepare micro-batches of the last step, when every term of the loss plays.

    The samples are the first of the data, numbered as those of the last step: opening some sources at their end reads all of them.

    Raises:
        ConfigError: the batch does not divide into equal shares.
        ArError: as preparing does.
    """
    dataset = StepDataset(job, config, ranks)
    share = config.batch_size // ranks.size
    micro = min(config.micro_batch_size or share, share)
    samples = _renumbered(job.source.open(0), (config.steps - 1) * config.batch_size, config.batch_size)
    rng = SampleRng(config.seed)
    number = min(MICRO_BATCHES, -(-SAMPLES // micro))
    prepared = [dataset.prepare(list(islice(samples, micro)), rng) for _ in range(number)]
    return StepSamples(prepared, -(-share // micro))


def size(prepared: Prepared) -> int:
    """Bytes of a micro-batch."""
    return sum(tensor.nbytes for tensor in prepared.tensors.values())


def _renumbered(samples: Iterable[Mapping[str, Any]], first: int, count: int) -> Iterator[dict[str, Any]]:
    for number, sample in enumerate(samples):
        yield {**sample, "index": first + number % count}
