"""The windowed cache as passes of fixed shapes use it: storage that stays where it is, written where a tensor says."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ar_core.cache.windowed import WindowedKVCache

__all__ = ["PlacedCache", "Storage", "StorageCache", "StoragePool"]


class Storage:
    """Keys and values of all layers, `[B, Hkv, capacity, D]` each, that outlive the cache that uses them.

    Args:
        keys: of each layer.
        values: of each layer.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values
        self._owner: Callable[[], object | None] = lambda: None

    @property
    def batch(self) -> int:
        """B."""
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
    """Storage by rows and capacity, used again where its last user is gone.

    Args:
        allocate: makes keys and values of all layers for a batch and a capacity.
        granule: capacities are multiples of it, so that few sizes occur.
    """

    def __init__(self, allocate: Callable[[int, int], WindowedKVCache], granule: int = 256) -> None:
        self._allocate, self._granule = allocate, granule
        self._all: list[Storage] = []

    def take(self, batch: int, capacity: int, owner: object) -> Storage:
        """Zeroed storage of at least `capacity` slots."""
        slots = -(-capacity // self._granule) * self._granule
        for storage in self._all:
            if storage.free and (storage.batch, storage.capacity) == (batch, slots):
                for tensor in (*storage.keys, *storage.values):
                    tensor.zero_()
                break
        else:
            fresh = self._allocate(batch, slots)
            storage = Storage(fresh._keys, fresh._values)
            self._all.append(storage)
        storage.lend(owner)
        return storage


class StorageCache(WindowedKVCache):
    """A windowed cache in lent storage.

    Args:
        pool: where storage comes from, also when rows are evicted.
        batch: rows.
        capacity: slots per row that are needed; there may be more.
    """

    def __init__(self, pool: StoragePool, batch: int, capacity: int) -> None:
        self._pool = pool
        self.storage = pool.take(batch, capacity, self)
        self._keys, self._values = self.storage.keys, self.storage.values
        self._memory = ()
        self._lengths = [0] * batch
        self._written = [0] * batch
        self._window = None

    def rows(self, index: Tensor | Sequence[int]) -> None:
        """See :meth:`WindowedKVCache.rows`; the rows move into storage of their number."""
        before = self.storage
        super().rows(index)
        if self._keys is before.keys:
            return
        after = self._pool.take(self.batch, before.capacity, self)
        for target, source in zip((*after.keys, *after.values), (*self._keys, *self._values), strict=True):
            target.copy_(source)
        before.give_back()
        self.storage, self._keys, self._values = after, after.keys, after.values


class PlacedCache:
    """One pass's view of storage: keys and values are written where `starts` says when the pass runs.

    It returns all slots, whatever a row sees, so that shapes never change; attention must read no further than each row's
    visible end.

    Args:
        storage: of the cache.
        starts: int64 `[B]`, first slot that the pass writes; read at every pass.
    """

    def __init__(self, storage: Storage, starts: Tensor) -> None:
        self.storage, self.starts = storage, starts
        self._rows = torch.arange(len(starts), device=starts.device)[:, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values `[B, Hkv, n, D]` of a layer; all slots `[B, Hkv, capacity, D]` of it."""
        slots = self.starts[:, None] + torch.arange(k.shape[2], device=k.device)
        keys, values = self.storage.keys[layer], self.storage.values[layer]
        for stored, fresh in ((keys, k), (values, v)):
            stored.transpose(1, 2)[self._rows, slots] = fresh.transpose(1, 2)
        return keys, values
