"""Our attention under the name that Hugging Face models are told to use."""

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from ar_core.attention import BACKENDS, attend
from ar_core.attention.placed import PlacedMask
from ar_core.errors import BackendError, MaskError, UnsupportedModelError
from ar_core.hf.mask import mask_for_model
from ar_core.masks import Mask, sliding_window

__all__ = ["IMPLEMENTATION", "register", "use_backend"]

IMPLEMENTATION = "ar_core"
"""Value for `attn_implementation`."""

_HARMLESS = frozenset({"position_ids", "use_cache", "is_causal", "num_items_in_batch", "output_hidden_states"})
"""Keywords that reach the attention function and do not change its mathematics, the mask being explicit."""

_BACKEND = "_ar_core_backend"


def register() -> None:
    """Make `attn_implementation="ar_core"` known to transformers; calling it again changes nothing.

    A :class:`ar_core.masks.Mask` then travels through a model as `attention_mask`; None and a 2-D padding mask become
    one. Attention that needs more than a mask and a scale (softcap, sinks, position bias, dropout) raises
    UnsupportedModelError.
    """
    AttentionInterface.register(IMPLEMENTATION, _attention)
    AttentionMaskInterface.register(IMPLEMENTATION, mask_for_model)


def use_backend(model: PreTrainedModel, backend: str) -> None:
    """Make all attention layers of a model use one backend of :func:`ar_core.attention.attend`, or "auto".

    Raises:
        BackendError: there is no such backend.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise BackendError(f"There is no attention backend {backend!r}; choose {', '.join(BACKENDS)} or auto.")
    for module in model.modules():
        setattr(module, _BACKEND, backend)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Mask | PlacedMask | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer: q `[B, H, n, D]`, k and v `[B, Hkv, K, D]` after rotary embedding; returns `[B, n, H, D]`."""
    for name, given in rest.items():
        if given is not None and given is not False and name not in _HARMLESS:
            raise UnsupportedModelError(
                f"{type(module).__name__} asks its attention for {name}={_brief(given)}, which ar_core does not compute; "
                f"use a model or a call without {name}."
            )
    if dropout:
        raise UnsupportedModelError(
            f"{type(module).__name__} asks its attention for dropout={dropout}, which ar_core does not compute; set "
            f"attention_dropout to 0 in the model's config."
        )
    if isinstance(attention_mask, PlacedMask):
        if sliding_window is not None:
            raise UnsupportedModelError(
                f"{type(module).__name__} has a sliding window, which passes of fixed shapes do not compute; use the engine plain."
            )
        return attention_mask.attend(query, key, value, scaling).transpose(1, 2), None
    if not isinstance(attention_mask, Mask):
        raise MaskError(
            f"{type(module).__name__} handed its attention a mask of type {type(attention_mask).__name__}; pass an "
            f"ar_core Mask, a 2-D padding mask or None as attention_mask."
        )
    if sliding_window is not None and key.shape[2] > sliding_window:
        attention_mask = _within(attention_mask, sliding_window)
    backend = getattr(module, _BACKEND, "auto")
    return attend(query, key, value, attention_mask, scale=scaling, backend=backend).transpose(1, 2), None


def _within(mask: Mask, size: int) -> Mask:
    return mask.also(sliding_window(size))


def _brief(value: Any) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
