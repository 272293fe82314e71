"""The library flash-attn, for the masks that it has: full, causal, with a window, and documents in one piece."""

import importlib.util
from itertools import accumulate

import torch
from torch import Tensor

from ar_core.attention.structure import Structure, structure
from ar_core.masks import Mask

__all__ = ["available", "compute", "refuses"]


def available() -> tuple[bool, str]:
    """Where it is installed."""
    if importlib.util.find_spec("flash_attn") is None:
        return False, "flash-attn is not installed (pip install 'ar-core[flash-attn]')"
    return True, "installed"


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Dtypes and devices that it lacks, and masks that are none of its structures.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
    if q.dtype not in (torch.float16, torch.bfloat16):
        return f"flash-attn computes in float16 and bfloat16 and was given {str(q.dtype).removeprefix('torch.')}"
    if q.device.type != "cuda":
        return f"flash-attn runs on CUDA and the tensors are on {q.device.type}"
    found = structure(mask, q.shape[0])
    return found if isinstance(found, str) else None


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. It has tokens before heads: [B, T, H, D]."""
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    found = structure(mask, q.shape[0])
    assert isinstance(found, Structure)
    # A window of n keys, the query among them, is n - 1 to the left.
    window = (-1, -1) if found.window is None else (found.window - 1, 0)
    options = {"softmax_scale": scale, "causal": found.causal, "window_size": window}
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if found.documents is None:
        out: Tensor = flash_attn_func(q, k, v, **options).transpose(1, 2)
        return out
    edges = torch.tensor([0, *accumulate(found.documents)], dtype=torch.int32, device=q.device)
    longest = max(found.documents)
    packed = flash_attn_varlen_func(
        *(x.flatten(0, 1) for x in (q, k, v)),
        cu_seqlens_q=edges,
        cu_seqlens_k=edges,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        **options,
    )
    out = packed.view(q.shape).transpose(1, 2)
    return out
