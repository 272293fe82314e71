"""Which passes a decoder really ran, by their width."""

from collections import Counter

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone
from ar_core.masks import Mask
from torch import Tensor

__all__ = ["WidthCounter"]


class WidthCounter:
    """A backbone that notes how many tokens each of its passes computed.

    Statistics count passes by phase, and one phase may hold passes of several widths: with a sub-block cache, a block method
    denoises now its block and now a part of it.

    Args:
        backbone: what does the work.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.widths: list[int] = []
        """Tokens a row of each pass, in order."""

    def counts(self, *, prefills: int) -> Counter[int]:
        """Number of passes by width, without the first ``prefills``."""
        return Counter(self.widths[prefills:])

    @property
    def vocab_size(self) -> int:
        """The backbone's."""
        return self._backbone.vocab_size

    @property
    def context_length(self) -> int:
        """The backbone's."""
        return self._backbone.context_length

    @property
    def device(self) -> torch.device:
        """The backbone's."""
        return self._backbone.device

    @property
    def dtype(self) -> torch.dtype:
        """The backbone's."""
        return self._backbone.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """The backbone's."""
        return self._backbone.embed(ids)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """The backbone's, noted."""
        self.widths.append(positions.shape[-1])
        return self._backbone.hidden(ids, embeds=embeds, positions=positions, mask=mask, cache=cache)

    def head(self, hidden: Tensor) -> Tensor:
        """The backbone's."""
        return self._backbone.head(hidden)

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """The backbone's."""
        return self._backbone.new_cache(batch, capacity)
