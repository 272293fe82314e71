"""Confidence from hidden states as a Triton kernel: a program takes some rows and a part of the ids.

It multiplies tile after tile of the head and keeps the running statistics of `online` in registers; the parts, which there
are so that a few rows fill the device, are merged in torch. Logits are rounded to the dtype of the head as a model's own head
rounds them, so that ties and thresholds fall alike.
"""

from collections.abc import Sequence
from functools import reduce

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.confidence.online import Statistics, merge

__all__ = ["launch"]

ROWS, IDS, WIDTH = 16, 64, 64
PROGRAMS = 256
"""About as many as there should be, of rows and parts together."""


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
    for start in range(part * part_size, stop, IDS):
        ids = start + tl.arange(0, IDS)
        z = tl.zeros([ROWS, IDS], tl.float32)
        for c in range(0, width, WIDTH):
            at = c + columns
            h = tl.load(
                hidden + row[:, None] * hidden_stride + at[None, :],
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
        z = tl.where(ids[None, :] < stop, z, -float("inf"))
        for j in range(num_banned):
            z = tl.where(ids[None, :] == tl.load(banned + j), -float("inf"), z)
        tile_best = tl.max(z, axis=1)
        tile_id = tl.min(tl.where(z == tile_best[:, None], ids[None, :], vocabulary), axis=1)
        tile_second = tl.max(tl.where(ids[None, :] == tile_id[:, None], -float("inf"), z), axis=1)
        second = tl.maximum(tl.maximum(second, tile_second), tl.minimum(best, tile_best))
        best_id = tl.where(tile_best > best, tile_id, best_id)
        above = tl.maximum(best, tile_best)
        # A tile of banned ids only has maximum -inf; its exponentials are 0, not exp(-inf + inf).
        shift = tl.where(above == -float("inf"), 0.0, above)
        moved = tl.where(best == -float("inf"), 0.0, best - shift)
        rescale = tl.where(best == -float("inf"), 0.0, tl.exp(moved))
        below = tl.where(z == -float("inf"), 0.0, z - shift[:, None])
        e = tl.where(z == -float("inf"), 0.0, tl.exp(below))
        weighted = rescale * (weighted + moved * total) + tl.sum(below * e, axis=1)
        total = total * rescale + tl.sum(e, axis=1)
        best = above
    inside = row < rows
    tl.store(token + part * rows + row, best_id, mask=inside)
    tl.store(numbers + (part * 4 + 0) * rows + row, best, mask=inside)
    tl.store(numbers + (part * 4 + 1) * rows + row, second, mask=inside)
    tl.store(numbers + (part * 4 + 2) * rows + row, total, mask=inside)
    tl.store(numbers + (part * 4 + 3) * rows + row, weighted, mask=inside)


def launch(
    hidden: Tensor, weight: Tensor, scale: float, cap: float | None, temperature: float, banned_ids: Sequence[int]
) -> Statistics:
    """Statistics of all ids, for hidden states [R, C] and a head [V, C]."""
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    rows, (vocabulary, width) = len(hidden), weight.shape
    blocks = max(1, triton.cdiv(rows, ROWS))
    tiles = triton.cdiv(vocabulary, IDS)
    part_size = triton.cdiv(tiles, min(tiles, max(1, PROGRAMS // blocks))) * IDS
    parts = triton.cdiv(vocabulary, part_size)
    banned = torch.tensor(list(banned_ids) or [-1], dtype=torch.int64, device=hidden.device)
    token = torch.empty(parts, rows, dtype=torch.int64, device=hidden.device)
    numbers = torch.empty(parts, 4, rows, dtype=torch.float32, device=hidden.device)
    inner, outer = (scale / temperature, 1.0) if cap is None else (scale / cap, cap / temperature)
    if rows:
        _head_kernel[(blocks, parts)](
            hidden, weight, banned, token, numbers, hidden.stride(0), weight.stride(0), rows, width, vocabulary, part_size,
            len(banned_ids), inner, outer, CAPPED=cap is not None, ROWS=ROWS, IDS=IDS, WIDTH=WIDTH,
        )  # fmt: skip
    return reduce(merge, (Statistics(token[part], *numbers[part]) for part in range(parts)))
