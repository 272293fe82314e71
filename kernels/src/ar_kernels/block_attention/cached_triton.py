"""`block_attention` as a Triton kernel that is split over the slots, and the join of the parts.

Each program has the rows of one row of the batch and one key head: all queries of all query heads that share it. It goes
through its part of the slots with online softmax and leaves a normalised output and the logarithm of its normaliser, by which
a second kernel joins the parts; where there is one part only, it writes the output itself.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start as start_kernel

__all__ = ["launch"]

SLOTS = 64
"""Slots of a tile."""
PROGRAMS = 256
"""About as many as there should be."""
JOINED = 4
"""Rows that a program joins."""


@triton.jit
def _kernel(
    q,
    k,
    v,
    start,
    visible,
    tile,
    lines,
    output,
    normaliser,
    q_batch,
    q_head,
    q_query,
    k_batch,
    k_head,
    k_slot,
    v_batch,
    v_head,
    v_slot,
    tile_batch,
    tile_width,
    key_heads,
    group,
    queries,
    width,
    slots,
    blocks,
    part_size,
    scale,
    TILED: tl.constexpr,
    INDEXED: tl.constexpr,
    ROWS: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    JOINED: tl.constexpr,
):
    # Only the first axis of a grid takes more than 65,535 programs, and strides times indices may need 64 bits.
    pair = tl.program_id(0) // blocks
    batch = (pair // key_heads).to(tl.int64)
    key_head = (pair % key_heads).to(tl.int64)
    part = tl.program_id(1)
    row = (tl.program_id(0) % blocks) * ROWS + tl.arange(0, ROWS)
    real = row < group * queries
    query = (row % queries).to(tl.int64)
    head = key_head * group + row // queries
    column = tl.arange(0, WIDTH)
    inside = column < width
    at = q + batch * q_batch + head[:, None] * q_head + query[:, None] * q_query + column[None, :]
    own = tl.load(at, mask=real[:, None] & inside[None, :], other=0.0)
    line = tl.load(lines + batch) if INDEXED else batch
    first = tl.load(start + batch)
    stop = tl.minimum((part + 1) * part_size, tl.minimum(tl.load(visible + batch), slots))
    best = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    added = tl.zeros([ROWS, WIDTH], tl.float32)
    for begin in range(part * part_size, stop, SLOTS):
        slot = (begin + tl.arange(0, SLOTS)).to(tl.int64)
        seen = slot < stop
        keys = tl.load(
            k + line * k_batch + key_head * k_head + slot[None, :] * k_slot + column[:, None],
            mask=seen[None, :] & inside[:, None],
            other=0.0,
        )
        scores = tl.dot(own, keys, input_precision="ieee") * scale
        allowed = seen[None, :] & real[:, None]
        if TILED:
            place = slot - first
            window = (place >= 0) & (place < tile_width)
            shown = tl.load(
                tile + batch * tile_batch + query[:, None] * tile_width + place[None, :],
                mask=real[:, None] & window[None, :],
                other=1,
            )
            allowed = allowed & (shown != 0)
        scores = tl.where(allowed, scores, -float("inf"))
        above = tl.maximum(best, tl.max(scores, axis=1))
        # Rows that have seen nothing yet have no maximum to subtract.
        shift = tl.where(above == -float("inf"), 0.0, above)
        p = tl.exp(scores - shift[:, None])
        kept = tl.exp(best - shift)
        total = total * kept + tl.sum(p, axis=1)
        values = tl.load(
            v + line * v_batch + key_head * v_head + slot[:, None] * v_slot + column[None, :],
            mask=seen[:, None] & inside[None, :],
            other=0.0,
        )
        added = added * kept[:, None] + tl.dot(p.to(values.dtype), values, input_precision="ieee")
        best = above
    blind = total == 0
    found = tl.where(blind[:, None], 0.0, added / tl.where(blind, 1.0, total)[:, None])
    pairs = tl.num_programs(0) // blocks
    place = (part.to(tl.int64) * pairs + pair) * group * queries + row
    tl.store(output + place[:, None] * width + column[None, :], found, mask=real[:, None] & inside[None, :])
    if JOINED:
        tl.store(
            normaliser + place, tl.where(blind, -float("inf"), best + tl.log(tl.where(blind, 1.0, total))), mask=real
        )


@triton.jit
def _join_kernel(
    found, normaliser, output, parts, rows, width, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    real = row < rows
    inside = real[:, None] & (column < width)[None, :]
    best = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    added = tl.zeros([ROWS, WIDTH], tl.float32)
    place = row.to(tl.int64)
    for _ in range(0, parts):
        own = tl.load(normaliser + place, mask=real, other=-float("inf"))
        above = tl.maximum(best, own)
        # Where no part has seen anything yet, there is no maximum to subtract.
        shift = tl.where(above == -float("inf"), 0.0, above)
        share = tl.exp(own - shift)
        kept = tl.exp(best - shift)
        values = tl.load(found + place[:, None] * width + column[None, :], mask=inside, other=0.0)
        added = added * kept[:, None] + values * share[:, None]
        total = total * kept + share
        best = above
        place += rows
    joined = added / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(output + row.to(tl.int64)[:, None] * width + column[None, :], joined, mask=inside)


def launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: Tensor,
    visible: Tensor,
    tile: Tensor | None,
    lines: Tensor | None,
    scale: float,
) -> Tensor:
    """As :func:`ar_kernels.block_attention.cached.block_attention`, whose checks are made; `lines` are its `rows`."""
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    batch, heads, queries, width = q.shape
    key_heads, slots = k.shape[1], k.shape[2]
    group = heads // key_heads
    rows = max(16, min(64, triton.next_power_of_2(group * queries)))
    blocks, pairs = triton.cdiv(group * queries, rows), batch * key_heads
    parts = max(1, min(triton.cdiv(slots, 2 * SLOTS), PROGRAMS // max(1, blocks * pairs)))
    part_size = triton.cdiv(max(1, triton.cdiv(slots, SLOTS)), parts) * SLOTS
    parts = max(1, triton.cdiv(slots, part_size))
    found = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    if not found.numel():
        return found
    if not slots:
        return found.zero_()
    output, normaliser = found, found
    if parts > 1:
        output = torch.empty(parts, *q.shape, dtype=torch.float32, device=q.device)
        normaliser = torch.empty(parts, *q.shape[:3], dtype=torch.float32, device=q.device)
    tile = None if tile is None else tile.contiguous()
    shown = start if tile is None else tile.view(torch.uint8)
    padded = max(16, triton.next_power_of_2(width))
    start_kernel(
        _kernel, (blocks * pairs, parts), q, k, v, start, visible, shown, start if lines is None else lines, output,
        normaliser, *q.stride()[:3], *k.stride()[:3], *v.stride()[:3],
        0 if tile is None or len(tile) == 1 else tile.stride(0), 0 if tile is None else tile.shape[2], key_heads, group,
        queries, width, slots, blocks, part_size, scale,
        TILED=tile is not None, INDEXED=lines is not None, ROWS=rows, SLOTS=SLOTS, WIDTH=padded, JOINED=parts > 1,
        num_warps=4, num_stages=3 if padded * k.element_size() <= 256 else 1,
    )  # fmt: skip
    if parts > 1:
        every = batch * heads * queries
        start_kernel(
            _join_kernel, (triton.cdiv(every, JOINED),), output, normaliser, found, parts, every, width, ROWS=JOINED,
            WIDTH=padded, num_warps=1,
        )  # fmt: skip
    return found
