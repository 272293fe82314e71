"""Sample streams over packed rows: stored, or tokenised while training."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..corruption import SampleRng
from ..errors import DataError
from .order import epoch_order
from .packing import Row
from .rows import NO_ROWS, RowStore
from .sample import Sample

__all__ = ["IGNORED", "StoredSource", "StreamedSource"]

IGNORED = -100
"""Label of a token that is not supervised."""


def _sample(index: int, row: Row) -> Sample:
    ids = torch.from_numpy(row.ids).long()
    return {
        "index": index,
        "ids": ids,
        "labels": ids.masked_fill(~torch.from_numpy(row.supervised), IGNORED),
        "document": torch.from_numpy(row.document).long(),
    }


class StoredSource:
    """Rows of a store in an order drawn anew for each epoch; sample n of a run is found without reading those before
    it.

    Args:
        store: N rows.
        seed: of the orders.
        facts: what :meth:`describe` adds to the counts of the store.
    """

    def __init__(self, store: RowStore, seed: int, facts: dict[str, Any]) -> None:
        self.store, self.seed, self.facts = store, seed, facts

    def __len__(self) -> int:
        """Number of rows, that is of samples in an epoch."""
        return len(self.store)

    def open(self, start: int) -> Iterator[Sample]:
        """Yield samples ``start``, ``start + 1``, ... without end: sample n is row ``order[epoch][n mod N]``."""
        for index in itertools.count(start):
            epoch, place = divmod(index, len(self.store))
            yield _sample(index, self.store[int(epoch_order(self.seed, epoch, len(self.store))[place])])

    def once(self) -> Iterator[Sample]:
        """Yield every row once, in the order of the data, for evaluation."""
        for index in range(len(self.store)):
            yield _sample(index, self.store[index])

    def describe(self) -> dict[str, Any]:
        """Settings, fingerprint and counts."""
        return {**self.facts, **self.store.meta, "seed": self.seed}


class StreamedSource:
    """Rows made while training and shuffled in a buffer.

    A row is drawn at random from the ``buffer`` rows read last, so that neighbours in the data stay within about
    that many samples of one another: data sorted by topic should be stored, not streamed. Opening at n makes and
    drops n rows.

    Args:
        rows: makes the rows of one epoch, the same ones every time; they need not end.
        buffer: K, rows to draw from.
        seed: of the draws.
        facts: what :meth:`describe` returns beside the seed.
    """

    def __init__(self, rows: Callable[[], Iterator[Row]], buffer: int, seed: int, facts: dict[str, Any]) -> None:
        self.rows, self.buffer, self.seed, self.facts = rows, buffer, seed, facts

    def open(self, start: int) -> Iterator[Sample]:
        """Yield samples ``start``, ``start + 1``, ... without end."""
        epochs = itertools.chain.from_iterable(map(self._epoch, itertools.count()))
        for index, row in enumerate(epochs):
            if index >= start:
                yield _sample(index, row)

    def _epoch(self, epoch: int) -> Iterator[Row]:
        generator = SampleRng(self.seed, epoch).row(0, "order of rows")
        waiting: list[Row] = []
        for row in self.rows():
            if len(waiting) < self.buffer:
                waiting.append(row)
                continue
            place = int(torch.randint(self.buffer, (), generator=generator))
            yield waiting[place]
            waiting[place] = row
        if not waiting:
            raise DataError(NO_ROWS)
        for place in torch.randperm(len(waiting), generator=generator).tolist():
            yield waiting[place]

    def describe(self) -> dict[str, Any]:
        """Settings and fingerprint."""
        return {**self.facts, "seed": self.seed}
