"""The model as decoders and objectives see it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask

__all__ = ["Backbone"]


@runtime_checkable
class Backbone(Protocol):
    """A decoder-only model in four calls: look up, transform, project, make a cache.

    Shapes: B rows, n tokens of a pass, C hidden width, V vocabulary.
    """

    @property
    def vocab_size(self) -> int:
        """V, the number of logits."""
        ...

    @property
    def context_length(self) -> int:
        """Positions that the model was made for."""
        ...

    @property
    def device(self) -> torch.device:
        """Where ids, positions and masks must lie."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of hidden states."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings `[B, n, C]` of ids int64 `[B, n]`."""
        ...

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Final hidden states `[B, n, C]` of one pass, ready for `head`.

        Args:
            ids: int64 `[B, n]`, or None if `embeds` is given.
            embeds: `[B, n, C]`, or None if `ids` is given.
            positions: int64 `[B, n]`.
            mask: who may see whom, queries x keys; keys are the pass's own tokens, or with a cache its first `span` slots.
                None: every key is visible to every query.
            cache: its window must be set; the caller decides afterwards what is kept.
        """
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]` of hidden states `[..., C]`."""
        ...

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """An empty cache of the right layers, heads, dtype and device."""
        ...
