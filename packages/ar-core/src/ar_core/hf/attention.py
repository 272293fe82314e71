"""Our attention under the name that Hugging Face models are told to use."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from ar_core.attention import attend
from ar_core.errors import MaskError, UnsupportedModelError
from ar_core.masks import Mask, Tokens, bidirectional, causal, padding, sliding_window

__all__ = ["IMPLEMENTATION", "everything", "register"]

IMPLEMENTATION = "ar_core"
"""Value for ``attn_implementation``."""

_HARMLESS = frozenset(
    {"position_ids", "use_cache", "output_attentions", "output_hidden_states", "is_causal", "cache_position", "num_items_in_batch"}
)
"""Keywords that reach the attention function and do not change its mathematics when a mask is given explicitly."""


def everything(queries: int, keys: int, device: torch.device) -> Mask:
    """A mask [1, 1, Q, K] that hides nothing; models read a missing mask as causal, so "no mask" must be said."""
    index = torch.arange(max(queries, keys), device=device)
    return Mask(bidirectional(), Tokens(position=index[:queries]), Tokens(position=index[:keys]))


def register() -> None:
    """Make ``attn_implementation="ar_core"`` known to transformers; calling it again changes nothing."""
    AttentionInterface.register(IMPLEMENTATION, _attention)
    AttentionMaskInterface.register(IMPLEMENTATION, _mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Mask | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer: q [B, H, n, D], k and v [B, Hkv, K, D] after RoPE; returns [B, n, H, D]."""
    model = type(module).__name__
    for name, given in rest.items():
        if given is not None and name not in _HARMLESS:
            raise UnsupportedModelError(
                f"{model} asks its attention for {name}={given!r}, which ar_core does not compute; use a model without it."
            )
    if dropout:
        raise UnsupportedModelError(f"{model} asks for attention dropout {dropout}; set attention_dropout=0 in its config.")
    if not isinstance(attention_mask, Mask):
        raise MaskError(
            f"{model} handed its attention a {type(attention_mask).__name__}; pass an ar_core Mask as attention_mask."
        )
    if sliding_window is not None and key.shape[2] > sliding_window:
        attention_mask = _windowed(attention_mask, sliding_window)
    return attend(query, key, value, attention_mask, scale=scaling).transpose(1, 2), None


def _windowed(mask: Mask, size: int) -> Mask:
    return Mask(mask.rule & sliding_window(size), mask.queries, mask.keys)


def _mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    attention_mask: Any = None,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Mask:
    """What transformers calls to build a mask: ours passes untouched, none becomes causal, 2-D padding hides keys."""
    if isinstance(attention_mask, Mask):
        return attention_mask
    queries = Tokens(position=torch.arange(q_length, device=device) + q_offset)
    keys = Tokens(position=torch.arange(kv_length, device=device) + kv_offset)
    if attention_mask is None:
        return Mask(causal(), queries, keys)
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
        valid = attention_mask.long()
        valid = nn.functional.pad(valid, (0, max(0, kv_length - valid.shape[1])))[:, :kv_length]
        return Mask(causal() & padding(), queries, keys.with_ids(valid=valid.to(device)))
    raise MaskError(
        f"attention_mask is a {type(attention_mask).__name__}; pass an ar_core Mask, a 2-D padding mask or None."
    )
