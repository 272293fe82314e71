"""Triton kernel of `ar_kernels.nearest_code`: a program takes some rows and a part of the codes.

Differences are squared and added up column by column in registers: twice the work of a product, which would lose the digits that
tell near codes apart, and which float32 has no fast form of either. Both operands lie column by column, so that neighbours are
read together.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start
from ar_kernels.nearest_code.screening import unit

__all__ = ["launch"]


class Launch(NamedTuple):
    """Rows and codes of a tile, warps of a program, about how many programs of rows and parts."""

    rows: int
    codes: int
    warps: int
    programs: int


LAUNCHES = ((64, Launch(16, 128, 4, 512)), (math.inf, Launch(32, 256, 4, 1024)))
"""By how many rows there are at most. As many codes as threads, or twice as many: then a thread reads its rows four at a time."""


@triton.jit
def _nearest_kernel(
    x,
    codes,
    ids,
    scores,
    x_stride,
    codes_stride,
    rows,
    width,
    vocabulary,
    part_size,
    COSINE: tl.constexpr,
    ROWS: tl.constexpr,
    CODES: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    best = tl.full([ROWS], float("inf"), tl.float32)
    best_id = tl.zeros([ROWS], tl.int32)
    stop = tl.minimum((part + 1) * part_size, vocabulary)
    for first in range(part * part_size, stop, CODES):
        id = first + tl.arange(0, CODES)
        x_at, codes_at = x + row, codes + id
        apart = tl.zeros([ROWS, CODES], tl.float32)
        for _ in range(width):
            own = tl.load(x_at, mask=row < rows, other=0.0)[:, None]
            code = tl.load(codes_at, mask=id < stop, other=0.0)[None, :]
            if COSINE:
                apart -= own * code
            else:
                apart += (own - code) * (own - code)
            x_at += x_stride
            codes_at += codes_stride
        # What is no number is not below infinity either.
        apart = tl.where((id[None, :] < stop) & (apart < float("inf")), apart, float("inf"))
        least = tl.min(apart, axis=1)
        lowest = tl.min(tl.where(apart == least[:, None], id[None, :], vocabulary), axis=1)
        best_id = tl.where(least < best, lowest, best_id)
        best = tl.minimum(best, least)
    at = part.to(tl.int64) * rows + row
    tl.store(ids + at, best_id, mask=row < rows)
    tl.store(scores + at, best, mask=row < rows)


def launch(x: Tensor, codebook: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """Nearest codes.

    Args:
        x: rows, [N, C].
        codebook: [V, C].
        cosine: by the cosine, else by the squared distance.

    Returns:
        Ids int64 [N], and squared distances or cosines [N], float32.
    """
    rows, width, vocabulary = *x.shape, len(codebook)
    columns, codes = ((unit(one) if cosine else one).float().T.contiguous() for one in (x, codebook))
    sizes = next(sizes for most, sizes in LAUNCHES if rows <= most)
    blocks = max(1, triton.cdiv(rows, sizes.rows))
    tiles = triton.cdiv(vocabulary, sizes.codes)
    part_size = triton.cdiv(tiles, min(tiles, max(1, sizes.programs // blocks))) * sizes.codes
    parts = triton.cdiv(vocabulary, part_size)
    ids = torch.empty(parts, rows, dtype=torch.int64, device=x.device)
    scores = torch.empty(parts, rows, dtype=torch.float32, device=x.device)
    if rows:
        start(
            _nearest_kernel, (blocks, parts), columns, codes, ids, scores, columns.stride(0), codes.stride(0), rows, width,
            vocabulary, part_size, COSINE=cosine, ROWS=sizes.rows, CODES=sizes.codes, num_warps=sizes.warps,
        )  # fmt: skip
    # Parts with the least have the lowest id of theirs.
    least = scores.amin(0)
    nearest = ids.where(scores == least, vocabulary).amin(0)
    least = least.masked_fill(least.isinf(), torch.nan)
    return nearest, -least if cosine else least
