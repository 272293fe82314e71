"""Who sees whom in a sequence of a condition and codes in raster order.

Source: LlamaGen (arXiv 2406.06525): a causal mask.
"""

from __future__ import annotations

import torch
from ar_core.masks import Mask, Tokens, causal, padding, sliding_window
from torch import Tensor

__all__ = ["raster_mask"]

_CAUSAL = causal()
_PADDED = causal() & (padding() | sliding_window(1))
"""Padding sees itself, as published, so that no query is without keys."""


def raster_mask(start: int, count: int, valid: Tensor | None, device: torch.device | str) -> Mask | None:
    """The mask of a pass over neighbouring tokens, with all before them as keys; the same rule in training and decoding.

    Args:
        start: place of the pass's first token in the sequence.
        count: n, its tokens.
        valid: bool `[R, P]`, which of the first P positions, the condition, hold something; None: all.
        device: where queries and keys are.

    Returns:
        n queries x (start + n) keys; None where one token sees everything.
    """
    end = start + count
    if valid is None and count == 1:
        return None
    tokens = Tokens(position=torch.arange(end, device=device))
    if valid is None:
        return Mask(_CAUSAL, tokens.slice(start, end), tokens)
    columns = torch.ones(valid.shape[0], end, dtype=torch.long, device=device)
    prefix = min(valid.shape[1], end)
    columns[:, :prefix] = valid[:, :prefix]
    return Mask(_PADDED, tokens.slice(start, end), tokens.with_ids(valid=columns))
