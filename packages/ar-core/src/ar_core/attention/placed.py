"""Attention of a pass over a cache whose place is a tensor: nothing of it changes shape from pass to pass."""

import torch
from ar_kernels import block_attention
from torch import Tensor

from ar_core.masks import Mask, block_causal, causal, tree

__all__ = ["PlacedMask", "placeable", "tile_of"]

_EVERYTHING_BEFORE = frozenset({causal(), block_causal(), tree()})
"""Rules by which a pass at the end of the cache sees all committed tokens of its row."""


class PlacedMask:
    """Who sees what in one pass: row b sees the slots below `visible[b]`, its own window through the tile.

    It travels through Hugging Face models as `attention_mask`, hence `ndim` and `shape`.

    Args:
        starts: int64 [B], first slot of each row's window.
        visible: int64 [B].
        tile: bool [B or 1, n, W], of the W slots from the window's first on; None: a row sees all of its visible slots.
        rows: int64 [B], rows of the cache that take part; None: all.
        slots: of the cache.
        length: n.
    """

    ndim = 4

    def __init__(
        self, starts: Tensor, visible: Tensor, tile: Tensor | None, rows: Tensor | None, *, slots: int, length: int
    ) -> None:
        self.starts, self.visible, self.tile, self.rows = starts, visible, tile, rows
        self.shape = (len(starts), 1, length, slots)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        """Attention over all slots of all rows of the cache.

        Args:
            q: queries `[R, H, n, D]` of the pass.
            k: all slots of a layer, `[lines, Hkv, capacity, D]`.
            v: likewise, `[lines, Hkv, capacity, D]`.
            scale: factor of the scores; None: 1 / sqrt(D).

        Returns:
            `[R, H, n, D]`.
        """
        return block_attention(q, k, v, self.starts, self.visible, self.tile, self.rows, scale=scale)


def tile_of(mask: Mask, starts: Tensor, width: int) -> Tensor:
    """What the tokens of a window see of the slots from their first on, bool [B or 1, n, W].

    Args:
        mask: queries are the window, keys the slots from 0; of a rule that :func:`placeable` knows.
        starts: int64 [B].
        width: W; where it goes beyond the keys of the mask, the tile says nothing.
    """
    columns = starts[:, None] + torch.arange(width, device=starts.device)
    # The rule is asked about the window alone, not about all slots.
    return Mask(mask.rule, mask.queries, mask.keys.take(columns.clamp(max=mask.keys.length - 1))).dense()[:, 0]


def placeable(mask: Mask | None) -> bool:
    """Whether a mask hides nothing that lies before the window."""
    return mask is None or mask.is_full or mask.rule in _EVERYTHING_BEFORE
