"""The mask that a Hugging Face model hands to its layers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import causal_mask_function

from ar_core.attention.placed import PlacedMask
from ar_core.errors import MaskError
from ar_core.masks import Mask, Rule, Tokens, bidirectional, causal, padding
from ar_core.masks.rule import Ids

__all__ = ["everything", "mask_for_model"]

Predicate = Callable[..., Any]


def everything(positions: Tensor, keys: int) -> Mask:
    """A mask `[1 or B, 1, n, K]` that hides nothing.

    Models read a missing mask as a causal one, so that "no mask" must be said. It carries positions (int64 `[B, n]`; keys
    count from 0) for layers with a sliding window, which narrow it.
    """
    index = torch.arange(keys, device=positions.device)
    return Mask(bidirectional(), Tokens(position=positions), Tokens(position=index))


def mask_for_model(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Predicate = causal_mask_function,
    attention_mask: Any = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Mask | PlacedMask:
    """What transformers calls to build a mask: ours passes untouched, from None or 2-D padding one is made.

    The rule is the predicate that the model asks for: causal, in a sliding window, or within packed sequences.

    Args:
        batch_size: B.
        q_length: n, tokens of the pass.
        kv_length: K, keys that a layer sees.
        q_offset: position of the first query.
        kv_offset: position of the first key.
        mask_function: transformers' predicate (b, h, q, k) over positions.
        attention_mask: a Mask, None, or `[B, K]` with 1 for tokens and 0 for padding.
        use_vmap: the predicate is one that cannot be evaluated on tensors of indices.
        device: of the model.

    Raises:
        MaskError: the mask is of another kind, or the predicate cannot be evaluated.
    """
    if isinstance(attention_mask, (Mask, PlacedMask)):
        return attention_mask
    if use_vmap:
        raise MaskError(
            "The model adds a mask function of its own, which ar_core cannot render; pass an ar_core Mask as attention_mask."
        )
    queries = Tokens(position=torch.arange(q_length, device=device) + q_offset)
    keys = Tokens(position=torch.arange(kv_length, device=device) + kv_offset)
    if mask_function is causal_mask_function:
        rule = causal()
    else:
        rule = _asked_by_model(mask_function)
        row = torch.arange(batch_size, device=device)[:, None].expand(batch_size, q_length)
        queries = queries.with_ids(row=row)
    if attention_mask is None:
        return Mask(rule, queries, keys)
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
        held = attention_mask[:, kv_offset : kv_offset + kv_length].to(device).long()
        valid = torch.nn.functional.pad(held, (0, kv_length - held.shape[1]))
        return Mask(rule & padding(), queries, keys.with_ids(valid=valid))
    raise MaskError(
        f"An attention_mask of type {type(attention_mask).__name__} was given; pass an ar_core Mask, a 2-D padding mask or "
        f"None."
    )


def _asked_by_model(predicate: Predicate) -> Rule:
    return Rule("asked_by_model", _allows, frozenset({"row", "position"}), frozenset({"position"}), (predicate,))


def _allows(q: Ids, k: Ids, predicate: Predicate) -> Tensor:
    out: Tensor = predicate(q["row"], torch.zeros_like(q["row"]), q["position"], k["position"])
    return out
