"""The windowed cache as passes of fixed shapes use it: storage that stays where it is, written where a tensor says."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ar_core.cache.windowed import WindowedKVCache

__all__ = ["PlacedCache", "Storage", "StorageCache", "StoragePool", "power_of_two"]

MOST_FREE = 8


class Storage:
    """Keys and values of all layers, `[lines, Hkv, capacity, D]` each, that outlive the cache that uses them.

    Args:
        keys: of each layer.
        values: of each layer.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values
        self.built: dict[Hashable, Any] = {}
        """What was built for these tensors, such as graphs that read them, to go when they go."""
        self._owner: Callable[[], object | None] = lambda: None

    @property
    def lines(self) -> int:
        """Rows that it has room for."""
        return self.keys[0].shape[0]

    @property
    def capacity(self) -> int:
        """Slots per row."""
        return self.keys[0].shape[2]

    @property
    def free(self) -> bool:
        """Whether no cache that is still in use stores there."""
        return self._owner() is None

    def lend(self, owner: object) -> None:
        """Keep others away while `owner` lives or until it is lent again."""
        self._owner = weakref.ref(owner)

    def give_back(self) -> None:
        """Let others have it."""
        self._owner = lambda: None


class StoragePool:
    """Storage that is used again where its last user is gone.

    Rows are rounded up to a power of two, so that few sizes occur as rows leave a batch, and slots to a granule. What is free
    and too small gives way to what is allocated in its place, and of what else is free, the least recently used beyond
    `MOST_FREE`. As a batch shrinks to one row, it leaves storage of half its size, a quarter and so on: as much again.

    Args:
        allocate: makes keys and values of all layers for a batch and a capacity.
        granule: capacities are multiples of it.
    """

    def __init__(self, allocate: Callable[[int, int], WindowedKVCache], granule: int = 256) -> None:
        self._allocate, self._granule = allocate, granule
        self._all: list[Storage] = []

    def take(self, batch: int, capacity: int, owner: object) -> Storage:
        """Zeroed storage with room for `batch` rows, of more than `capacity` slots."""
        lines = power_of_two(batch)
        slots = (capacity // self._granule + 1) * self._granule
        free = [storage for storage in self._all if storage.free and storage.lines == lines]
        enough = [storage for storage in free if storage.capacity >= slots]
        if enough:
            chosen = min(enough, key=lambda storage: storage.capacity)
            for tensor in (*chosen.keys, *chosen.values):
                tensor.zero_()
        else:
            others = [storage for storage in self._all if storage.free and storage not in free]
            for storage in (*free, *others[:-MOST_FREE]):
                # Graphs hold the storage that they read: without this, both would wait for the garbage collector.
                storage.built.clear()
                self._all.remove(storage)
            free.clear()
            # What is allocated in inference mode could not be written outside of it.
            with torch.inference_mode(False):
                fresh = self._allocate(lines, slots)
                chosen = Storage(fresh._keys, fresh._values)
            self._all.append(chosen)
        self._all.remove(chosen)
        self._all.append(chosen)
        chosen.lend(owner)
        return chosen


class StorageCache(WindowedKVCache):
    """A windowed cache in lent storage, of which the last slot stays out of use: passes that are filled up write there.

    Args:
        pool: where storage comes from, also when rows are evicted.
        batch: rows.
        capacity: slots per row that are needed; there may be more.
    """

    def __init__(self, pool: StoragePool, batch: int, capacity: int) -> None:
        self._pool = pool
        self._memory = ()
        self._lengths = [0] * batch
        self._written = [0] * batch
        self._window = None
        self.prompts = list(range(batch))
        self._store_in(pool.take(batch, capacity, self), batch)

    @property
    def capacity(self) -> int:
        """Slots per row."""
        return self.storage.capacity - 1

    @property
    def pass_rows(self) -> list[int] | None:
        """Rows of the window that is set; None: all of them, in their order."""
        return None if self._current.whole else self._current.rows

    def rows(self, index: Tensor | Sequence[int]) -> None:
        """See :meth:`WindowedKVCache.rows`; the rows move to the front of their storage, or into one of their number."""
        chosen: list[int] = index.tolist() if isinstance(index, Tensor) else list(index)
        before, keys, values = self.storage, self._keys, self._values
        fits = power_of_two(max(1, len(chosen))) == before.lines
        # Before anything has changed: where there is no memory for it, the cache stays as it was.
        after = before if fits else self._pool.take(len(chosen), self.capacity, self)
        try:
            super().rows(chosen)
        except BaseException:
            self._keys, self._values = keys, values
            if not fits:
                after.give_back()
            raise
        if self._keys is keys:
            return
        moved = (*self._keys, *self._values)
        for target, source in zip((*after.keys, *after.values), moved, strict=True):
            target[: self.batch, :, : source.shape[2]] = source
        if not fits:
            before.give_back()
        self._store_in(after, self.batch)

    def _store_in(self, storage: Storage, batch: int) -> None:
        self.storage = storage
        self._keys = [tensor[:batch] for tensor in storage.keys]
        self._values = [tensor[:batch] for tensor in storage.values]


class PlacedCache:
    """One pass's view of storage: keys and values are written where `starts` says when the pass runs.

    It returns all slots of all lines, whatever a row sees, so that shapes never change; attention must read no further than
    each row's visible end.

    Args:
        storage: of the cache.
        starts: int64 `[R]`, first slot that the pass writes; read at every pass.
        counts: int64 `[R]`, tokens of each row that count; what the others leave lies in the storage's last slot.
        rows: int64 `[R]`, lines that take part, as often as one likes; None: all.
    """

    def __init__(self, storage: Storage, starts: Tensor, counts: Tensor, rows: Tensor | None) -> None:
        self.storage, self.starts, self.counts = storage, starts, counts
        self._rows = torch.arange(len(starts), device=starts.device)[:, None] if rows is None else rows[:, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values where the pass stands.

        Args:
            layer: its index.
            k: keys `[R, Hkv, n, D]`.
            v: values `[R, Hkv, n, D]`.

        Returns:
            All slots of the layer, keys and values `[lines, Hkv, capacity, D]`.
        """
        place = torch.arange(k.shape[2], device=k.device)
        slots = torch.where(place < self.counts[:, None], self.starts[:, None] + place, self.storage.capacity - 1)
        keys, values = self.storage.keys[layer], self.storage.values[layer]
        for stored, fresh in ((keys, k), (values, v)):
            stored.transpose(1, 2)[self._rows, slots] = fresh.transpose(1, 2)
        return keys, values


def power_of_two(count: int) -> int:
    """The least power of two that is no less than a positive number."""
    return 1 << (count - 1).bit_length()
