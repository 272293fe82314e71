"""FlexAttention over the mask's ``BlockMask``: training on CUDA, forward passes on a CPU."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ar_core.masks import Mask

__all__ = ["available", "compute", "compute_uncompiled", "refuses", "refuses_uncompiled"]


def available() -> tuple[bool, str]:
    """Always: FlexAttention comes with torch."""
    return True, "part of torch"


def refuses_uncompiled(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Gradients on a CPU, for which FlexAttention has no backward pass.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
    if q.device.type == "cpu" and (q.requires_grad or k.requires_grad):
        return "FlexAttention has no backward pass on a CPU (use 'segments', or run the model under torch.no_grad)"
    return None


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """What uncompiled FlexAttention refuses, and float64, for which no kernel is generated.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
    if q.dtype == torch.float64:
        return "FlexAttention compiles no kernel for float64 (use 'sdpa' or 'segments')"
    return refuses_uncompiled(q, k, mask)


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. Compiles on the first call of each shape."""
    return _call(_compiled(), q, k, v, mask, scale)


def compute_uncompiled(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """As :func:`compute` without compiling: holds all scores, needs no compiler; for checking."""
    from torch.nn.attention.flex_attention import flex_attention

    return _call(flex_attention, q, k, v, mask, scale)


@cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _call(function: Any, q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    blocks = None if mask is None or mask.is_full else mask.block_mask()
    out: Tensor = function(q, k, v, block_mask=blocks, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return out
