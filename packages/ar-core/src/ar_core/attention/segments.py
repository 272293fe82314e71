"""Exact attention that skips what the mask hides, forward and backward, from PyTorch's public parts alone.

Queries are taken in chunks; each chunk attends to the few ranges of keys that it can see. This is the fast one for
training on a CPU, where FlexAttention has no backward pass and dense SDPA computes every hidden score.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ar_core.attention.fused import attention_dtype, fused_attention
from ar_core.masks import Mask, Segment

__all__ = ["ROWS", "available", "compute", "computed_share", "refuses"]

ROWS = 128
"""Queries per chunk: 64 to 128 is the flat optimum measured on CPUs."""


def available() -> tuple[bool, str]:
    """Always."""
    return True, "part of ar_core"


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Masks that have not been rendered when torch.compile traces: rendering reads ids on the host.

    See :meth:`ar_core.attention.backend.Backend.refuses`.
    """
    if mask is None or mask.is_full or not torch.compiler.is_compiling() or mask.has_segments(ROWS):
        return None
    return "torch.compile cannot trace the rendering of segments (call mask.segments() for every row before the model)"


def computed_share(mask: Mask) -> float:
    """Share of the Q x K scores that is computed, mean over the batch; renders the mask."""
    rows, _, queries, keys = mask.shape
    area = sum(segment.area for row in range(rows) for segment in mask.segments(ROWS, row))
    return area / (rows * queries * keys)


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. Batch-dependent masks are computed row by row."""
    if mask is None or mask.is_full:
        return fused_attention(q, k, v, None, scale)
    if mask.batch is None:
        return _attend(q, k, v, mask.segments(ROWS), scale)
    rows = zip(q.split(1), k.split(1), v.split(1))
    return torch.cat([_attend(*row, mask.segments(ROWS, batch=b), scale) for b, row in enumerate(rows)])


def _attend(q: Tensor, k: Tensor, v: Tensor, segments: Sequence[Segment], scale: float | None) -> Tensor:
    # K and V are split once, at the edges of all ranges, and each chunk joins the pieces it needs. Slicing them anew
    # per chunk would make autograd build a full-size gradient for every slice.
    edges = sorted({0, k.shape[2], *(edge for segment in segments for span in segment.keys for edge in span)})
    widths = [stop - start for start, stop in pairwise(edges)]
    piece = {edge: i for i, edge in enumerate(edges)}
    k_pieces, v_pieces = k.split(widths, dim=2), v.split(widths, dim=2)
    q_chunks = q.split([stop - start for start, stop in (segment.rows for segment in segments)], dim=2)
    outputs = []
    for segment, q_chunk in zip(segments, q_chunks):
        pieces = [i for span in segment.keys for i in range(piece[span[0]], piece[span[1]])]
        if not pieces:
            outputs.append(q_chunk.new_zeros(*q_chunk.shape[:3], v.shape[3], dtype=attention_dtype(q)))
            continue
        outputs.append(
            fused_attention(
                q_chunk, _join([k_pieces[i] for i in pieces]), _join([v_pieces[i] for i in pieces]), segment.tile, scale
            )
        )
    return _join(outputs)


def _join(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
