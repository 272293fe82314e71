"""Rotary embedding by row and column, with condition positions that rotate to zero.

Source: LlamaGen (arXiv 2406.06525) and its published code (two-dimensional RoPE).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["rotary_table", "rotate"]


@lru_cache(maxsize=16)
def rotary_table(
    grid: int, head_dim: int, prefix: int, base: float = 10000.0, device: torch.device | str = "cpu"
) -> Tensor:
    """Cosines and sines of every position of a sequence: P condition positions, then g² codes in raster order.

    Pair j of the first D/4 pairs of a head turns by row · w_j, pair j of the second by column · w_j, with
    w_j = base^(-2j / (D/2)). The condition has no place in the grid, and the published model gives it cosine 0 and sine 0: not
    the identity, but queries and keys of zero. Every query then gives a condition position the logit 0, and a condition
    position attends evenly to all that it sees. Checkpoints were trained so.

    Args:
        grid: g.
        head_dim: D, a multiple of 4.
        prefix: P.
        base: of the frequencies.
        device: of the table.

    Returns:
        float32 `[P + g², D/2, 2]`: cosine and sine of each pair. Kept, not to be written to; no buffer of the model, which would
        be rounded with its weights.
    """
    # Kept tensors serve training too, whoever asks first.
    with torch.inference_mode(False), torch.no_grad():
        return _table(grid, head_dim, prefix, base).to(device)


def _table(grid: int, head_dim: int, prefix: int, base: float) -> Tensor:
    half = head_dim // 2
    frequencies = base ** (-torch.arange(0, half, 2, dtype=torch.float32) / half)
    along = torch.outer(torch.arange(grid, dtype=torch.float32), frequencies)
    rows = along[:, None].expand(grid, grid, -1)
    columns = along[None].expand(grid, grid, -1)
    angles = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    codes = torch.stack([angles.cos(), angles.sin()], dim=-1)
    return torch.cat([codes.new_zeros(prefix, half, 2), codes])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels.

    Args:
        x: queries, keys, or both together, `[..., n, D]`, any float dtype; computed in float32.
        table: `[n, D/2, 2]` of the n positions.

    Returns:
        `[..., n, D]`, dtype of x.
    """
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = table.unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).type_as(x)
