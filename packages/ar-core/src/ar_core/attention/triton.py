"""The Triton kernels of ar-kernels: passes over a cache, and block-diffusion training."""

import importlib.util
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from ar_kernels import block_attention, block_diffusion_attention
from torch import Tensor

from ar_core.errors import BackendError
from ar_core.masks import Mask, Rule, block_diffusion, document

__all__ = ["available", "compute", "refuses", "suits"]

QUERIES = 256
"""Longest window of the cached form."""
WIDEST = 128
"""Width of heads up to which tiles of the training form are as large as they were tuned."""


def available() -> tuple[bool, str]:
    """Where triton is installed, on a CUDA device or under its interpreter."""
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed (pip install 'ar-core[triton]')"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return True, "under Triton's interpreter"
    return (True, "on CUDA") if torch.cuda.is_available() else (False, "there is no CUDA device")


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """float64; gradients or many queries, but for block-diffusion training over a sequence and itself.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
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
        tokens = mask.queries
        order = tokens["position"] if form.clean == "token" else None
        ids = [
            None if one is None else one.view(-1, tokens.length).long()
            for one in (tokens["stream"], tokens["block"], order, tokens["document"] if form.documents else None)
        ]
        return block_diffusion_attention(q, k, v, *ids, context=form.context, scale=scale, implementation="triton")  # type: ignore[arg-type]  # the ids that it takes, None where it takes None
    if torch.is_grad_enabled() and v.requires_grad:
        raise BackendError(
            "The attention backend 'triton' was given values that need a gradient, with a mask for which it has none; choose "
            "sdpa or auto."
        )
    keys = k.shape[2]
    start = torch.zeros(len(q), dtype=torch.int64, device=q.device)
    tile = None if mask is None or mask.is_full else mask.dense()[:, 0]
    return block_attention(q, k, v, start, torch.full_like(start, keys), tile, scale=scale, implementation="triton")


def suits(q: Tensor, mask: Mask | None) -> bool:
    """Whether a call is one that the kernels were measured to be the fastest backend for: training, in half precision.

    Args:
        q: queries `[B, H, Q, D]`.
        mask: who sees whom.
    """
    return q.dtype in (torch.float16, torch.bfloat16) and q.shape[3] <= WIDEST and _training(mask) is not None


class _Form(NamedTuple):
    """Options of the training form, and whether documents are apart."""

    clean: str
    context: str
    documents: bool


def _forms() -> Iterator[tuple[Rule, _Form]]:
    for clean in ("block", "token"):
        for context in ("clean", "noisy"):
            rule = block_diffusion(clean=clean, context=context)
            yield rule, _Form(clean, context, False)
            yield rule & document(), _Form(clean, context, True)
            yield document() & rule, _Form(clean, context, True)


_FORMS = tuple(_forms())


def _training(mask: Mask | None) -> _Form | None:
    """The training form of a mask, or None."""
    if mask is None or mask.queries is not mask.keys:
        return None
    for rule, form in _FORMS:
        if mask.rule == rule:
            return form
    return None
