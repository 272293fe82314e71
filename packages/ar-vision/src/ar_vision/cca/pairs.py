"""Samples with the class that each is contrasted with.

Which class that is belongs to the sample: a function of seed and number, through the order of the data, so that micro-batches,
ranks, accumulation and stored log-probabilities all know the same pairs.

Source: CCA (arXiv 2410.09347): negatives are classes of other samples; groups that are the same under any batch are ours.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ar_core.training import Source
from torch import Tensor

from .stored import StoredLogProbs

__all__ = ["PairSource", "Scores", "paired"]


class Scores(NamedTuple):
    """What the starting model thinks of a pair.

    Attributes:
        labels: int64 [2], both classes as they were scored, the null class in place of both where it was drawn.
        log_probs: float32 [2].
    """

    labels: Tensor
    log_probs: Tensor


def paired(group: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield samples with ``negative``, the class of the next sample; the last has that of the first (published: roll by -1)."""
    for place, sample in enumerate(group):
        yield {**sample, "negative": int(group[(place + 1) % len(group)]["label"])}


class PairSource:
    """The samples of a run in groups that exchange their classes: those of a group are a permutation of its own.

    Args:
        source: of samples with ``label``.
        group: samples of one, 2 or more; groups begin at multiples of it.
        stored: log-probabilities under the starting model, added to each sample as ``reference``; None: made while training.
    """

    def __init__(self, source: Source, group: int, stored: StoredLogProbs | None = None) -> None:
        self.source, self.group, self.stored = source, group, stored

    def open(self, start: int) -> Iterator[Mapping[str, Any]]:
        """Yield samples ``start``, ``start + 1``, ... without end."""
        first = start - start % self.group
        samples = self.source.open(first)
        while group := list(islice(samples, self.group)):
            for sample in self._scored(paired(group)):
                if sample["index"] >= start:
                    yield sample

    def describe(self) -> dict[str, Any]:
        """What identifies data and pairs; stored log-probabilities do not change what is learned."""
        return {**self.source.describe(), "negative_group": self.group}

    def _scored(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for sample in samples:
            if self.stored is not None:
                sample["reference"] = Scores(*self.stored[sample["index"]])
            yield sample
