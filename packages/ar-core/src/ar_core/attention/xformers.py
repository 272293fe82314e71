"""The library xformers, for the masks that its biases have: full, causal, with a window, and documents in one piece."""

import importlib.util
from typing import Any

import torch
from torch import Tensor

from ar_core.attention.structure import Structure, structure
from ar_core.masks import Mask

__all__ = ["available", "compute", "refuses"]


def available() -> tuple[bool, str]:
    """Where it is installed."""
    if importlib.util.find_spec("xformers") is None:
        return False, "xformers is not installed (pip install 'ar-core[xformers]')"
    return True, "installed"


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Dtypes and devices that it lacks, masks that are none of its structures, and windows over packed documents.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
    if q.dtype == torch.float64:
        return "xformers has no kernel for float64"
    if q.device.type != "cuda":
        return f"xformers runs on CUDA and the tensors are on {q.device.type}"
    found = structure(mask, q.shape[0])
    if isinstance(found, str):
        return found
    if found.documents is not None and found.window is not None:
        return "xformers has no sliding window over packed documents"
    return None


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. It has tokens before heads, and groups of query heads as an axis."""
    from xformers.ops import memory_efficient_attention

    found = structure(mask, q.shape[0])
    assert isinstance(found, Structure)
    batch, heads, _, width = q.shape
    key_heads = k.shape[1]
    grouped = heads != key_heads
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if found.documents is not None:
        q, k, v = (x.flatten(0, 1)[None] for x in (q, k, v))
    if grouped:
        q = q.unflatten(2, (key_heads, heads // key_heads))
        k, v = (x[:, :, :, None].expand(-1, -1, -1, heads // key_heads, -1) for x in (k, v))
    output = memory_efficient_attention(q, k, v, attn_bias=_bias(found), scale=scale)
    out: Tensor = output.reshape(batch, -1, heads, width).transpose(1, 2)
    return out


def _bias(found: Structure) -> Any:
    from xformers.ops import fmha

    biases = fmha.attn_bias
    if found.documents is not None:
        packed = biases.BlockDiagonalMask.from_seqlens(list(found.documents))
        return packed.make_causal() if found.causal else packed
    if found.window is not None:
        return biases.LowerTriangularFromBottomRightLocalAttentionMask(found.window)
    return biases.LowerTriangularFromBottomRightMask() if found.causal else None
