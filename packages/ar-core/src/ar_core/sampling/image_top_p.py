"""The two top-k/top-p filters of published image generators, which differ from each other.

Shapes: logits `[..., V]` in and out; what is left out becomes -inf. Both filter by k first, keeping all ids that equal the
k-th, and then by p on what is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ar_core.sampling.filters import keep_top_k, keep_top_p

__all__ = ["llamagen_filter", "var_filter"]


def var_filter(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Filter as VAR and FlexVAR publish it: going up from the least probable id, drop while the mass is at most `1 - top_p`.

    `top_k = 0` and `top_p = 0` switch a filter off. The most probable id always stays. Against `llamagen_filter` the set
    differs where the mass meets the edge exactly, and in which of two equal logits goes first.
    """
    if top_k:
        logits = keep_top_k(logits, top_k)
    if not top_p:
        return logits
    ordered, order = logits.sort(dim=-1, descending=False, stable=True)
    drop = ordered.softmax(-1, dtype=torch.float32).cumsum(-1) <= 1 - top_p
    drop[..., -1] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)


def llamagen_filter(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Filter as LlamaGen publishes it: going down from the most probable id, keep up to the one that carries the mass past `top_p`.

    `top_k = 0` and `top_p = 1` switch a filter off.
    """
    if top_k:
        logits = keep_top_k(logits, top_k)
    return keep_top_p(logits, top_p)
