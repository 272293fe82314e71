"""Confidence from hidden states as a Triton kernel: a program takes some rows and a part of the ids.

It multiplies tile after tile of the head and keeps the running statistics in registers. Logits are rounded to the dtype of the head as a model's own head
rounds them, so that ties and thresholds fall alike.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.confidence.online_triton import banned_on, include, joined, leave, room, without
from ar_kernels.launching import start

__all__ = ["launch"]


class Launch(NamedTuple):
    """Rows, ids and columns of a tile, warps of a program, loads in flight, about how many programs of rows and parts."""

    rows: int
    ids: int
    width: int
    warps: int
    stages: int
    programs: int


LAUNCHES = (
    (16, Launch(16, 64, 256, 4, 3, 264)),
    (32, Launch(32, 64, 128, 4, 3, 256)),
    (math.inf, Launch(128, 256, 64, 8, 3, 132)),
)
"""By how many rows there are at most; widths are those of two bytes, and wider numbers fill as many bytes."""


@triton.jit
def _head_kernel(
    hidden,
    weight,
    banned,
    token,
    numbers,
    hidden_stride,
    weight_stride,
    rows,
    width,
    vocabulary,
    part_size,
    num_banned,
    inner,
    outer,
    CAPPED: tl.constexpr,
    ROWS: tl.constexpr,
    IDS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    columns = tl.arange(0, WIDTH)
    best = tl.full([ROWS], -float("inf"), tl.float32)
    second = tl.full([ROWS], -float("inf"), tl.float32)
    best_id = tl.zeros([ROWS], tl.int32)
    total = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS], tl.float32)
    stop = tl.minimum((part + 1) * part_size, vocabulary)
    for first in range(part * part_size, stop, IDS):
        ids = first + tl.arange(0, IDS)
        z = tl.zeros([ROWS, IDS], tl.float32)
        for c in range(0, width, WIDTH):
            at = c + columns
            h = tl.load(
                hidden + row[:, None].to(tl.int64) * hidden_stride + at[None, :],
                mask=(row[:, None] < rows) & (at[None, :] < width),
                other=0.0,
            )
            w = tl.load(
                weight + ids[None, :].to(tl.int64) * weight_stride + at[:, None],
                mask=(ids[None, :] < stop) & (at[:, None] < width),
                other=0.0,
            )
            z = tl.dot(h, w, z, input_precision="ieee")
        z = z.to(weight.dtype.element_ty).to(tl.float32) * inner
        if CAPPED:
            # tanh by exponentials of numbers that are not positive, which cannot overflow.
            e = tl.exp(-2.0 * tl.abs(z))
            z = tl.where(z < 0, -1.0, 1.0) * (1.0 - e) / (1.0 + e) * outer
        z = without(tl.where(ids[None, :] < stop, z, -float("inf")), ids, banned, num_banned)
        best, second, best_id, total, weighted = include(z, ids, vocabulary, best, second, best_id, total, weighted)
    leave(token, numbers, part, rows, row, best, second, best_id, total, weighted)


def launch(
    hidden: Tensor, weight: Tensor, scale: float, cap: float | None, temperature: float, banned_ids: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Confidence from hidden states.

    Args:
        hidden: [R, C].
        weight: [V, C], of the head.
        scale: factor of the logits.
        cap: bound of the logits; None: none.
        temperature: divisor of the logits.
        banned_ids: ids of probability 0.

    Returns:
        Token int64 [R], and probability, entropy and margin, float32 [R] each.
    """
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    rows, (vocabulary, width) = len(hidden), weight.shape
    sizes = next(sizes for most, sizes in LAUNCHES if rows <= most)
    blocks = max(1, triton.cdiv(rows, sizes.rows))
    columns = max(16, 2 * sizes.width // weight.element_size())
    tiles = triton.cdiv(vocabulary, sizes.ids)
    part_size = triton.cdiv(tiles, min(tiles, max(1, sizes.programs // blocks))) * sizes.ids
    token, numbers = room(triton.cdiv(vocabulary, part_size), rows, hidden.device)
    inner, outer = (scale / temperature, 1.0) if cap is None else (scale / cap, cap / temperature)
    if rows:
        start(
            _head_kernel, (blocks, len(token)), hidden, weight, banned_on(tuple(banned_ids), hidden.device), token, numbers, hidden.stride(0), weight.stride(0),
            rows, width, vocabulary, part_size, len(banned_ids), inner, outer, CAPPED=cap is not None, ROWS=sizes.rows,
            IDS=sizes.ids, WIDTH=columns, num_warps=sizes.warps, num_stages=sizes.stages,
        )  # fmt: skip
    return joined(token, numbers)
