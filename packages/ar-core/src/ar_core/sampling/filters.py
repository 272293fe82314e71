"""Filters of a distribution: each returns the logits with what is left out set to -inf.

Shapes: `[..., V]` in and out, V vocabulary. Of equal logits at an edge `keep_top_k` and `keep_min_p` keep all.

Source: top-k: arXiv 1805.04833; the others say theirs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["keep_min_p", "keep_top_k", "keep_top_p"]


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the `k` largest logits and all that equal the k-th; `k >= V` keeps everything."""
    if k >= logits.shape[-1]:
        return logits
    kth = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most probable ids whose mass exceeds `p`, at least one; `p >= 1` keeps everything.

    Nucleus sampling (Holtzman et al., arXiv 1904.09751), with the strict inequality of the published Fast-dLLM v2 and
    LlamaGen code: the id that carries the mass beyond `p` is kept.
    """
    if p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    mass = ordered.softmax(-1, dtype=torch.float32).cumsum(-1)
    drop = mass > p
    drop = torch.cat([torch.zeros_like(drop[..., :1]), drop[..., :-1]], dim=-1)
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep ids whose probability is at least `p` times that of the most probable (arXiv 2407.01082)."""
    edge = logits.amax(-1, keepdim=True) + math.log(p)
    return logits.masked_fill(logits < edge, -math.inf)
