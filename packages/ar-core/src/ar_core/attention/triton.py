"""The Triton kernels of ar-kernels: passes over a cache, and block-diffusion training."""

import importlib.util
import os

import torch
from ar_kernels import block_attention, block_diffusion_attention
from torch import Tensor

from ar_core.masks import Mask, block_diffusion, document

__all__ = ["available", "compute", "refuses"]

QUERIES = 256
"""Longest window of the cached form."""


def available() -> tuple[bool, str]:
    """Where triton is installed, on a CUDA device or under its interpreter."""
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed (pip install 'ar-core[triton]')"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return True, "under Triton's interpreter"
    return (True, "on CUDA") if torch.cuda.is_available() else (False, "there is no CUDA device")


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """float64; gradients or many queries, but for block-diffusion training over a sequence and itself."""
    if q.dtype == torch.float64:
        return "its kernels compute in float32 and were given float64 (use 'sdpa' or 'segments')"
    if _training(mask) is not None:
        return None
    if q.requires_grad or k.requires_grad:
        return "with gradients it computes block_diffusion(), with or without document(), over a sequence and itself"
    if q.shape[2] > QUERIES:
        return f"{q.shape[2]} queries are more than the {QUERIES} of a pass over a cache"
    return None


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`."""
    if (form := _training(mask)) is not None:
        assert mask is not None
        clean, context, documents = form
        tokens = mask.queries
        order = tokens["position"] if clean == "token" else None
        ids = [
            None if one is None else one.view(-1, tokens.length).long()
            for one in (tokens["stream"], tokens["block"], order, tokens["document"] if documents else None)
        ]
        return block_diffusion_attention(q, k, v, *ids, context=context, scale=scale, implementation="triton")  # type: ignore[arg-type]
    keys = k.shape[2]
    start = torch.zeros(len(q), dtype=torch.int64, device=q.device)
    tile = None if mask is None or mask.is_full else mask.dense()[:, 0]
    return block_attention(q, k, v, start, torch.full_like(start, keys), tile, scale=scale, implementation="triton")


def _training(mask: Mask | None) -> tuple[str, str, bool] | None:
    """Options of the training form, and whether documents are apart; None for other masks."""
    if mask is None or mask.queries is not mask.keys:
        return None
    for clean in ("block", "token"):
        for context in ("clean", "noisy"):
            rule = block_diffusion(clean=clean, context=context)
            if mask.rule == rule:
                return clean, context, False
            if mask.rule in (rule & document(), document() & rule):
                return clean, context, True
    return None
