"""One causal pass over the next tokens of every row, through the windowed cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.decoding.backbone import Backbone
from ar_core.masks import Mask, Tokens, causal

__all__ = ["causal_pass", "uncached_pass"]

_CAUSAL = causal()


def causal_pass(backbone: Backbone, cache: WindowedKVCache, rows: Sequence[Sequence[int]] | Tensor) -> Tensor:
    """Run the model over the continuation of every row; the caller decides with `cache.keep` what stays.

    Shorter rows are filled up on the right with their last id. Causality hides the filling from every real token, and once
    `keep` has been told the real counts, the row's own tokens overwrite it: nothing is padded in the cache.

    Args:
        backbone: the model.
        cache: its cache; row b continues at its committed length.
        rows: 1 to n ids for each of the B rows of the cache, or int64 `[B, n]` on the backbone's device.

    Returns:
        Hidden states `[B, n, C]`; those of filling mean nothing. One token per row of equal lengths sees all there is, and
        runs without a mask.
    """
    if isinstance(rows, Tensor):
        ids = rows
    else:
        n = max(map(len, rows))
        ids = torch.tensor([[*row, *[row[-1]] * (n - len(row))] for row in rows], device=backbone.device)
    cache.window(ids.shape[1])
    positions = cache.query_positions()
    mask = None
    if ids.shape[1] > 1 or not cache.uniform:
        keys = Tokens(position=torch.arange(cache.span, device=backbone.device))
        mask = Mask(_CAUSAL, Tokens(position=positions[0] if cache.uniform else positions), keys)
    return backbone.hidden(ids, positions=positions, mask=mask, cache=cache)


def uncached_pass(backbone: Backbone, ids: Sequence[int]) -> Tensor:
    """Run the model causally over one whole sequence without a cache: what cached passes are held against.

    Args:
        backbone: the model.
        ids: the sequence, L >= 1 ids.

    Returns:
        Hidden states `[L, C]`.
    """
    sequence = torch.tensor([list(ids)], device=backbone.device)
    positions = torch.arange(len(ids), device=backbone.device)
    mask = Mask.self_attention(_CAUSAL, Tokens(position=positions))
    return backbone.hidden(sequence, positions=positions[None], mask=mask)[0]
