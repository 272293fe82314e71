"""The places of an image in the order of its cells, and which cells see which.

Letters: R rows, Cv channels, g x g places, K cells of m = side² places each.

Source: xAR (arXiv 2502.20388), section 3.
"""

from __future__ import annotations

import torch
from ar_core.masks import Mask, Tokens, block_causal
from torch import Tensor

__all__ = ["cell_mask", "from_cells", "to_cells"]

_BLOCK_CAUSAL = block_causal()


def to_cells(features: Tensor, side: int) -> Tensor:
    """Return features `[R, Cv, g, g]` as tokens `[R, g², Cv]`: cell after cell in raster order, and so inside each."""
    rows, channels, grid, _ = features.shape
    parted = features.reshape(rows, channels, grid // side, side, grid // side, side)
    return parted.permute(0, 2, 4, 3, 5, 1).reshape(rows, grid * grid, channels)


def from_cells(tokens: Tensor, side: int) -> Tensor:
    """Return tokens, float `[R, g², Cv]`, as features `[R, Cv, g, g]`; undoes :func:`to_cells`."""
    rows, count, channels = tokens.shape
    grid = round(count**0.5)
    parted = tokens.reshape(rows, grid // side, grid // side, side, side, channels)
    return parted.permute(0, 5, 1, 3, 2, 4).reshape(rows, channels, grid, grid)


def cell_mask(cells: int, places: int, device: torch.device | str) -> Mask:
    """Return who sees whom among K cells of m places: a cell sees itself and those before it. Of four cells of two places::

    cell      0 0 1 1 2 2 3 3
              # # . . . . . .
              # # . . . . . .
              # # # # . . . .
              # # # # . . . .
              # # # # # # . .
              # # # # # # . .
              # # # # # # # #
              # # # # # # # #
    """
    tokens = Tokens(block=torch.arange(cells, device=device).repeat_interleave(places))
    return Mask(_BLOCK_CAUSAL, tokens, tokens)
