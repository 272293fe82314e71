"""What both forms compute, in plain torch with every score at once; differentiable by autograd.

Source: scaled dot-product attention (arXiv 1706.03762, equation 1).
"""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["attention", "cached_mask", "training_mask"]


def attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float) -> Tensor:
    """softmax(scale q k^T) v over allowed keys, computed in float32 or better; 0 for a query that sees no key.

    Args:
        q: [B, H, Q, D].
        k: [B, Hkv, K, D], H a multiple of Hkv.
        v: [B, Hkv, K, D].
        allowed: bool [B or 1, 1, Q, K].
        scale: factor of the scores.

    Returns:
        [B, H, Q, D], in the dtype of q.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.to(wide).repeat_interleave(repeats, 1) for x in (k, v))
    scores = (q.to(wide) @ k.mT * scale).masked_fill(~allowed, -torch.inf)
    # A row of minus infinities has no softmax; its scores are replaced, and its output is 0.
    blind = ~allowed.any(-1, keepdim=True)
    p = scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)
    return (p @ v).to(q.dtype)


def cached_mask(start: Tensor, visible: Tensor, queries: int, keys: int, tile: Tensor | None) -> Tensor:
    """Bool [B, 1, Q, K]: slots before the window, those of the window that the tile shows, and those behind it, all below
    `visible`.

    Args:
        start: int64 [B], first slot of each row's window.
        visible: int64 [B], slots that each row sees.
        queries: Q.
        keys: K.
        tile: bool [B or 1, Q, W], what each query sees of the window, W slots; None: all.
    """
    slots = torch.arange(keys, device=start.device)
    seen = (slots < visible[:, None])[:, None, None].expand(-1, 1, queries, -1)
    if tile is None or not tile.shape[2]:
        return seen
    place = slots - start[:, None]
    width = tile.shape[2]
    inside = (place >= 0) & (place < width)
    places = place.clamp(0, width - 1)[:, None].expand(-1, queries, -1)
    shown = tile.expand(len(start), -1, -1).gather(2, places)
    return seen & (shown | ~inside[:, None])[:, None]


def training_mask(
    stream: Tensor,
    block: Tensor,
    order: Tensor,
    document: Tensor | None,
    context: Literal["clean", "noisy"],
) -> Tensor:
    """Bool [B or 1, 1, T, T], the rule of `block_diffusion_attention`.

    Args:
        stream: int64 [B or 1, T], 0 clean, 1, 2, ... noised views.
        block: int64 [B or 1, T].
        order: int64 [B or 1, T], by which the clean stream is causal: block or position.
        document: int64 [B or 1, T]; None: one.
        context: what noised queries see of earlier blocks.
    """

    def pair(ids: Tensor) -> tuple[Tensor, Tensor]:
        return ids[:, None, :, None], ids[:, None, None, :]

    (qs, ks), (qb, kb), (qo, ko) = pair(stream), pair(block), pair(order)
    own = qs == ks
    noised = (own & (qb == kb)) | ((ks == 0) & (kb < qb)) if context == "clean" else own & (kb <= qb)
    allowed = torch.where(qs > 0, noised, (ks == 0) & (ko <= qo))
    if document is not None:
        qd, kd = pair(document)
        allowed = allowed & (qd == kd)
    return allowed
