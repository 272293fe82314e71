"""The windowed cache as the layers of a Hugging Face model call it."""

from typing import Any

from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.cache.placed import PlacedCache

__all__ = ["LayerCache", "PlacedLayerCache"]


class LayerCache:
    """Forwards keys and values of one pass to a cache whose window is set.

    Models call these four methods and check no type; only `generate` wants a real `transformers.Cache`
    (:class:`ar_core.hf.WindowedCacheForGenerate`).
    """

    is_compileable = False

    def __init__(self, cache: WindowedKVCache) -> None:
        self._cache = cache

    def update(self, k: Tensor, v: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store and return what the layer sees; see :meth:`ar_core.cache.WindowedKVCache.update`."""
        return self._cache.update(layer_idx, k, v)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """First position of the pass (of its shortest row; a host number: a tensor here breaks compiled graphs)."""
        return min(self._cache.starts)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """As `get_seq_length`."""
        return self.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Keys that a layer sees, and the position of the first of them."""
        return self._cache.span, 0


class PlacedLayerCache:
    """The same for a pass of fixed shapes, whose place no host number knows."""

    is_compileable = False

    def __init__(self, cache: PlacedCache) -> None:
        self._cache = cache

    def update(self, k: Tensor, v: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store, and return all slots; see :meth:`ar_core.cache.placed.PlacedCache.update`."""
        return self._cache.update(layer_idx, k, v)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """0: positions are always given."""
        return 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """As `get_seq_length`."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """All slots."""
        return self._cache.storage.capacity, 0
