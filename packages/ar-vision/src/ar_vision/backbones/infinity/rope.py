"""Rotary positions of a token in two dimensions, relative to the largest grid.

Source: Infinity (arXiv 2412.04431) and its published code (two-dimensional rotary positions, scaled by grid).
"""

from functools import lru_cache

import torch
from torch import Tensor

from ...scales import ScaleSchedule

__all__ = ["angles", "rotate"]

BASE = 10000.0


@lru_cache(maxsize=64)
def angles(
    schedule: ScaleSchedule, grid: tuple[int, int], head_dim: int, scale: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each token's angles, float32 [n, D/2], on the CPU and shared: not to be written to.

    Token (y, x) of scale k turns as the nearest token of the largest grid does: by round(y H / h_k) in the first half of the
    pairs and round(x W / w_k) in the second, times 10000^(-2 i / (D/2)); halves round to even. (The published code calls this
    ``rope2d_normalized_by_hw=2``.) The scale k matters: a table that starts anew at every pass is wrong.

    Args:
        schedule: K scales.
        grid: (H, W), the largest grid.
        head_dim: D.
        scale: k, for the L_k tokens of one scale; None for all L.
    """
    if scale is None:
        parts = [angles(schedule, grid, head_dim, k) for k in range(schedule.count)]
        return torch.cat([cos for cos, _ in parts]), torch.cat([sin for _, sin in parts])
    quarter = head_dim // 4
    frequencies = 1.0 / BASE ** (torch.arange(quarter).float() / quarter)
    height, width = schedule.sizes[scale]
    rows = torch.round(torch.arange(height) * (grid[0] / height))
    columns = torch.round(torch.arange(width) * (grid[1] / width))
    of_row = torch.outer(rows, frequencies)[:, None].expand(height, width, quarter)
    of_column = torch.outer(columns, frequencies)[None].expand(height, width, quarter)
    table = torch.cat([of_row, of_column], dim=-1).flatten(0, 1)
    return table.cos(), table.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn adjacent pairs (2 i, 2 i + 1) of queries or keys.

    Args:
        x: [R, H, n, D].
        cos: of the angles, [n, D/2].
        sin: of the angles, [n, D/2].

    Returns:
        [R, H, n, D].
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
