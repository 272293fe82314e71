"""A Hugging Face causal LM as decoders and objectives see it."""

import inspect
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ar_core.cache import WindowedKVCache
from ar_core.errors import UnsupportedModelError
from ar_core.hf.attention import IMPLEMENTATION, everything, register
from ar_core.masks import Mask

__all__ = ["HFBackbone"]


@lru_cache
def _cache_keyword(decoder: type[nn.Module]) -> str:
    """The argument that takes the cache: `cache` from transformers 5.24 on, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


class _Pass:
    """What model layers call during one pass; the window is already set, so it only forwards keys and values."""

    is_compileable = False

    def __init__(self, cache: WindowedKVCache) -> None:
        self.cache = cache

    def update(self, k: Tensor, v: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self.cache.update(layer_idx, k, v)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return min(self.cache.starts)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return min(self.cache.starts)

    def get_mask_sizes(self, q_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.cache.span, 0


class HFBackbone:
    """Implements :class:`ar_core.decoding.Backbone` over an unmodified transformers causal LM.

    A light view: it holds no state but the model, so objectives make one per step, also around a peft-wrapped model.

    Args:
        model: a causal LM whose decoder takes explicit ``attention_mask``, ``position_ids`` and ``past_key_values``.

    Raises:
        UnsupportedModelError: the model has no output embeddings.
    """

    def __init__(self, model: nn.Module) -> None:
        register()
        self.model = model
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.config = base.config.get_text_config()
        if self.config._attn_implementation != IMPLEMENTATION:
            base.set_attn_implementation(IMPLEMENTATION)
        self._decoder = base.get_decoder()
        self._head = base.get_output_embeddings()
        if self._head is None:
            raise UnsupportedModelError(f"{type(base).__name__} has no output embeddings; give a causal language model.")

    @property
    def vocab_size(self) -> int:
        """V, the number of logits."""
        return self._head.weight.shape[0]

    @property
    def context_length(self) -> int:
        """Positions that the model was made for."""
        return self.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        """Device of the embeddings."""
        return self._decoder.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the embeddings."""
        return self._decoder.get_input_embeddings().weight.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [B, n, C] of int64 ids [B, n]."""
        return self._decoder.get_input_embeddings()(ids)

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """Final hidden states [B, n, C]; see :class:`ar_core.decoding.Backbone`."""
        if mask is None:
            length = positions.shape[-1]
            mask = everything(length, length if cache is None else cache.span, positions.device)
        return self._decoder(
            input_ids=ids,
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            use_cache=cache is not None,
            **{_cache_keyword(type(self._decoder)): None if cache is None else _Pass(cache)},
        ).last_hidden_state

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., C]."""
        return self._head(hidden)

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """An empty windowed cache for this model."""
        config = self.config
        heads = config.num_attention_heads
        return WindowedKVCache(
            config.num_hidden_layers,
            batch,
            getattr(config, "num_key_value_heads", None) or heads,
            getattr(config, "head_dim", None) or config.hidden_size // heads,
            capacity,
            self.dtype,
            self.device,
        )
