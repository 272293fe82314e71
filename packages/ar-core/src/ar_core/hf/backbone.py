"""A Hugging Face causal LM as decoders and objectives see it."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ar_core.cache import WindowedKVCache
from ar_core.errors import UnsupportedModelError
from ar_core.hf.attention import IMPLEMENTATION, register
from ar_core.hf.layer_cache import LayerCache
from ar_core.hf.mask import everything
from ar_core.hf.supported import check_supported
from ar_core.linear_head import LinearHead
from ar_core.masks import Mask

__all__ = ["HFBackbone"]


class HFBackbone:
    """Implements :class:`ar_core.decoding.Backbone` over an unmodified transformers causal LM.

    A light view: it holds no state but the model, so that objectives make one per step, also around a model wrapped by
    peft.

    Args:
        model: a dense, full-attention causal LM, or a peft model around one. Its attention implementation becomes
            "ar_core".

    Raises:
        UnsupportedModelError: the model has no output embeddings, or layers that masks and the windowed cache cannot
            express; names them.
    """

    def __init__(self, model: nn.Module) -> None:
        register()
        base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]  # only models of peft have it
        check_supported(base.config)
        if not getattr(base, "_supports_attention_backend", False):
            raise UnsupportedModelError(
                f"{type(base).__name__} computes attention in code of its own, which ar_core cannot replace; use a model "
                f"that takes an attn_implementation, such as Llama or Qwen."
            )
        self.model = model
        self.config = base.config.get_text_config()
        if self.config._attn_implementation != IMPLEMENTATION:
            base.set_attn_implementation(IMPLEMENTATION)
        self.decoder = base.get_decoder()
        """The model without its head."""
        self._embeddings = self.decoder.get_input_embeddings()
        self.projection = base.get_output_embeddings()
        """The head's matrix."""
        if self.projection is None:
            raise UnsupportedModelError(
                f"{type(base).__name__} has no output embeddings; give a causal language model."
            )
        self._cache_keyword = _cache_keyword(type(self.decoder))  # type: ignore[arg-type]  # a module, as transformers has it
        self._divisor = getattr(self.config, "logits_scaling", None)
        self._factor = getattr(self.config, "logit_scale", None)
        self._cap = getattr(self.config, "final_logit_softcapping", None)

    @property
    def vocab_size(self) -> int:
        """V, the number of logits."""
        return int(self.config.vocab_size)

    @property
    def context_length(self) -> int:
        """Positions that the model was made for."""
        return int(self.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Device of the embeddings."""
        out: torch.device = self._embeddings.weight.device
        return out

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the embeddings."""
        out: torch.dtype = self._embeddings.weight.dtype
        return out

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings `[B, n, C]` of ids int64 `[B, n]`."""
        out: Tensor = self._embeddings(ids)
        return out

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Final hidden states `[B, n, C]`; see :class:`ar_core.decoding.Backbone`.

        Beyond it: positions may be `[3, B, n]` where the model takes three-part ones (Qwen-VL; then give a mask), and `more`
        holds further inputs of its decoder by name, such as the deepstack features of Qwen3-VL.
        """
        if mask is None:
            mask = everything(positions, positions.shape[-1] if cache is None else cache.span)
        past = {self._cache_keyword: LayerCache(cache)} if cache is not None else {}
        out: Tensor = self.decoder(
            input_ids=ids,
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            use_cache=cache is not None,
            **past,
            **(more or {}),
        ).last_hidden_state
        return out

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]` of hidden states `[..., C]`, scaled and capped as the model does."""
        logits: Tensor = self.projection(hidden)
        if self._divisor is not None:
            logits = logits / self._divisor
        if self._factor is not None:
            logits = logits * self._factor
        if self._cap is not None:
            logits = torch.tanh(logits / self._cap) * self._cap
        return logits

    @property
    def loss_head(self) -> Callable[[Tensor], Tensor]:
        """What losses give hidden states to: a :class:`ar_core.linear_head.LinearHead` where the head is a plain matrix, so
        that no adapter, bias, hook or quantised weight is passed over; else :meth:`head`.
        """
        projection: Any = self.projection
        plain = (
            type(projection) is nn.Linear
            and projection.bias is None
            and type(projection.weight) is nn.Parameter
            and not projection._forward_hooks
            and not projection._forward_pre_hooks
        )
        if not plain:
            return self.head
        scale = (1.0 if self._factor is None else self._factor) / (1.0 if self._divisor is None else self._divisor)
        return LinearHead(projection.weight, scale, self._cap)

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """An empty windowed cache of the model's layers, key/value heads, dtype and device."""
        config = self.config
        heads = config.num_attention_heads
        return WindowedKVCache(
            num_layers=config.num_hidden_layers,
            batch=batch,
            num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            capacity=capacity,
            dtype=self.dtype,
            device=self.device,
        )


@lru_cache
def _cache_keyword(decoder: Any) -> str:
    """Name of the decoder's cache argument: `cache` from transformers 5.24 on, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
