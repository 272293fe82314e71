"""The windowed cache as transformers' `generate` wants it."""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from ar_core.cache import WindowedKVCache
from ar_core.errors import CacheError

__all__ = ["WindowedCacheForGenerate"]


class WindowedCacheForGenerate(Cache):
    """A :class:`ar_core.cache.WindowedKVCache` that `model.generate(..., past_key_values=...)` accepts.

    `generate` knows no windows: the first layer of a pass opens one behind what is committed, the last one keeps all of
    it. All rows have one length, as `generate` pads prompts. With beams, the cache needs batch x beams rows.

    Args:
        cache: an empty or filled cache of the model (`HFBackbone.new_cache`), all rows of one length.

    Raises:
        CacheError: rows have different lengths, or `crop` is given a positive number.
    """

    def __init__(self, cache: WindowedKVCache) -> None:
        if len(set(cache.lengths)) > 1:
            raise CacheError(f"generate needs rows of one length; the KV cache has lengths {cache.lengths}.")
        self._cache = cache
        super().__init__(layers=[_Layer(cache, index) for index in range(cache.num_layers)])

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row b continue what was row `beam_idx[b]`."""
        self._cache.rows(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows: int64, their numbers, or bool `[B]`, which of them."""
        self._cache.rows(torch.arange(self._cache.batch)[indices.cpu()])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        self._cache.rows(torch.arange(self._cache.batch).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last `-tokens_to_remove` tokens."""
        length = self._cache.lengths[0]
        if not -length <= tokens_to_remove <= 0:
            raise CacheError(
                f"crop was given {tokens_to_remove}; give minus the number of tokens to forget, at most {length}."
            )
        self._cache.rewind(length + tokens_to_remove)

    def reset(self) -> None:
        """Forget everything."""
        self._cache.rewind(0)


class _Layer(CacheLayerMixin):
    """One layer's view; the tensors stay in the shared cache."""

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, cache: WindowedKVCache, index: int) -> None:
        super().__init__()
        self._cache, self._index = cache, index

    @property
    def batch_size(self) -> int:
        """Rows."""
        return self._cache.batch

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the cache is allocated when made."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write this layer's keys and values behind the committed ones; the last layer commits them."""
        if self._index == 0:
            self._cache.window(key_states.shape[2])
        seen = self._cache.update(self._index, key_states, value_states)
        if self._index == self._cache.num_layers - 1:
            self._cache.keep(key_states.shape[2])
        return seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that a pass of so many tokens sees, and the position of the first."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Committed tokens, a host number."""
        return self._cache.lengths[0]

    def get_max_length(self) -> int:
        """Slots."""
        return self._cache.capacity
