"""`block_diffusion_attention` as Triton kernels, forward and backward.

Scores are made again in the backward pass from the normaliser of each row. Gradients of keys and values are added up by the
program that owns the keys, over all query heads that share them, so that nothing is added atomically and two runs are equal.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["backward", "forward"]

TILE = 32
"""Queries and keys of a tile."""


@triton.jit
def _ids(ids, number, batch_ids, length, at, inside):
    """One kind of ids of some tokens; padding gets one that equals no other."""
    return tl.load(ids + number * batch_ids * length + at, mask=inside, other=-1)


@triton.jit
def _may_see(low, high, row, column, tiles, kinds_stride, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr):
    """Whether any query of a tile may see any key of another, by the smallest and largest ids of both; never wrongly no."""
    qs_low = tl.load(low + row)
    qs_high = tl.load(high + row)
    ks_low = tl.load(low + column)
    ks_high = tl.load(high + column)
    qb_low = tl.load(low + kinds_stride + row)
    qb_high = tl.load(high + kinds_stride + row)
    kb_low = tl.load(low + kinds_stride + column)
    kb_high = tl.load(high + kinds_stride + column)
    same_stream = (qs_low <= ks_high) & (ks_low <= qs_high)
    if NOISY:
        noised = same_stream & (kb_low <= qb_high)
    else:
        noised = (same_stream & (qb_low <= kb_high) & (kb_low <= qb_high)) | ((ks_low == 0) & (kb_low < qb_high))
    qo_high = tl.load(high + 2 * kinds_stride + row)
    ko_low = tl.load(low + 2 * kinds_stride + column)
    clean = (qs_low == 0) & (ks_low == 0) & (ko_low <= qo_high)
    found = ((qs_high > 0) & noised) | clean
    if DOCUMENTS:
        found = found & (tl.load(low + 3 * kinds_stride + row) <= tl.load(high + 3 * kinds_stride + column))
        found = found & (tl.load(low + 3 * kinds_stride + column) <= tl.load(high + 3 * kinds_stride + row))
    return found


@triton.jit
def _allowed(ids, batch, batch_ids, length, row, column, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr):
    """Bool [rows, columns]: the rule."""
    real_row = row < length
    real_column = column < length
    at_row = batch * length + row
    at_column = batch * length + column
    qs = _ids(ids, 0, batch_ids, length, at_row, real_row)[:, None]
    ks = _ids(ids, 0, batch_ids, length, at_column, real_column)[None, :]
    qb = _ids(ids, 1, batch_ids, length, at_row, real_row)[:, None]
    kb = _ids(ids, 1, batch_ids, length, at_column, real_column)[None, :]
    qo = _ids(ids, 2, batch_ids, length, at_row, real_row)[:, None]
    ko = _ids(ids, 2, batch_ids, length, at_column, real_column)[None, :]
    own = qs == ks
    noised = own & (kb <= qb) if NOISY else (own & (qb == kb)) | ((ks == 0) & (kb < qb))
    found = ((qs > 0) & noised) | ((qs == 0) & (ks == 0) & (ko <= qo))
    if DOCUMENTS:
        qd = _ids(ids, 3, batch_ids, length, at_row, real_row)[:, None]
        kd = _ids(ids, 3, batch_ids, length, at_column, real_column)[None, :]
        found = found & (qd == kd)
    return found & real_row[:, None] & real_column[None, :]


@triton.jit
def _load(x, base, at, length, column, width, token_stride):
    return tl.load(
        x + base + at[:, None] * token_stride + column[None, :],
        mask=(at < length)[:, None] & (column < width)[None, :],
        other=0.0,
    )


@triton.jit
def _forward_kernel(
    q, k, v, ids, low, high, output, normaliser, q_batch, q_head, q_token, k_batch, k_head, k_token, heads, group,
    batch_ids, length, width, tiles, scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    batch = (pair // heads).to(tl.int64)
    head = pair % heads
    own = tl.program_id(0)
    row = own * TILE + tl.arange(0, TILE)
    column = tl.arange(0, WIDTH)
    id_batch = batch % batch_ids
    kinds = batch_ids * tiles
    low += id_batch * tiles
    high += id_batch * tiles
    queries = _load(q, batch * q_batch + head * q_head, row, length, column, width, q_token)
    base = batch * k_batch + (head // group) * k_head
    best = tl.full([TILE], -float("inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    added = tl.zeros([TILE, WIDTH], tl.float32)
    for other in range(tiles):
        if _may_see(low, high, own, other, tiles, kinds, NOISY, DOCUMENTS):
            key = other * TILE + tl.arange(0, TILE)
            keys = _load(k, base, key, length, column, width, k_token)
            values = _load(v, base, key, length, column, width, k_token)
            scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
            allowed = _allowed(ids, id_batch, batch_ids, length, row, key, NOISY, DOCUMENTS)
            scores = tl.where(allowed, scores, -float("inf"))
            above = tl.maximum(best, tl.max(scores, axis=1))
            # Rows that have seen nothing yet have no maximum to subtract.
            shift = tl.where(above == -float("inf"), 0.0, above)
            p = tl.exp(scores - shift[:, None])
            kept = tl.exp(best - shift)
            total = total * kept + tl.sum(p, axis=1)
            added = added * kept[:, None] + tl.dot(p.to(values.dtype), values, input_precision="ieee")
            best = above
    blind = total == 0
    found = tl.where(blind[:, None], 0.0, added / tl.where(blind, 1.0, total)[:, None])
    place = pair.to(tl.int64) * length + row
    real = row < length
    tl.store(output + place[:, None] * width + column[None, :], found, mask=real[:, None] & (column < width)[None, :])
    # A blind row has the normaliser of one that sees nothing but minus infinities: every probability comes out as 0.
    tl.store(normaliser + place, tl.where(blind, float("inf"), best + tl.log(tl.where(blind, 1.0, total))), mask=real)


@triton.jit
def _query_kernel(
    q, k, v, of_output, normaliser, delta, ids, low, high, of_q, q_batch, q_head, q_token, k_batch, k_head, k_token, heads,
    group, batch_ids, length, width, tiles, scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    batch = (pair // heads).to(tl.int64)
    head = pair % heads
    own = tl.program_id(0)
    row = own * TILE + tl.arange(0, TILE)
    column = tl.arange(0, WIDTH)
    id_batch = batch % batch_ids
    kinds = batch_ids * tiles
    low += id_batch * tiles
    high += id_batch * tiles
    real = row < length
    place = pair.to(tl.int64) * length
    queries = _load(q, batch * q_batch + head * q_head, row, length, column, width, q_token)
    slope = _load(of_output, place * width, row, length, column, width, width)
    log_total = tl.load(normaliser + place + row, mask=real, other=float("inf"))
    mean = tl.load(delta + place + row, mask=real, other=0.0)
    base = batch * k_batch + (head // group) * k_head
    added = tl.zeros([TILE, WIDTH], tl.float32)
    for other in range(tiles):
        if _may_see(low, high, own, other, tiles, kinds, NOISY, DOCUMENTS):
            key = other * TILE + tl.arange(0, TILE)
            keys = _load(k, base, key, length, column, width, k_token)
            values = _load(v, base, key, length, column, width, k_token)
            scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
            allowed = _allowed(ids, id_batch, batch_ids, length, row, key, NOISY, DOCUMENTS)
            p = tl.where(allowed, tl.exp(scores - log_total[:, None]), 0.0)
            of_p = tl.dot(slope, tl.trans(values), input_precision="ieee")
            of_scores = p * (of_p - mean[:, None]) * scale
            added += tl.dot(of_scores.to(keys.dtype), keys, input_precision="ieee")
    at = of_q + (place + row)[:, None] * width + column[None, :]
    tl.store(at, added, mask=real[:, None] & (column < width)[None, :])


@triton.jit
def _key_kernel(
    q, k, v, of_output, normaliser, delta, ids, low, high, of_k, of_v, q_batch, q_head, q_token, k_batch, k_head, k_token,
    heads, group, batch_ids, length, width, tiles, scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    key_heads = heads // group
    batch = (pair // key_heads).to(tl.int64)
    key_head = pair % key_heads
    own = tl.program_id(0)
    key = own * TILE + tl.arange(0, TILE)
    column = tl.arange(0, WIDTH)
    id_batch = batch % batch_ids
    kinds = batch_ids * tiles
    low += id_batch * tiles
    high += id_batch * tiles
    base = batch * k_batch + key_head * k_head
    keys = _load(k, base, key, length, column, width, k_token)
    values = _load(v, base, key, length, column, width, k_token)
    added_k = tl.zeros([TILE, WIDTH], tl.float32)
    added_v = tl.zeros([TILE, WIDTH], tl.float32)
    for other in range(tiles):
        if _may_see(low, high, other, own, tiles, kinds, NOISY, DOCUMENTS):
            row = other * TILE + tl.arange(0, TILE)
            allowed = _allowed(ids, id_batch, batch_ids, length, row, key, NOISY, DOCUMENTS)
            for member in range(group):
                head = key_head * group + member
                place = (batch * heads + head) * length
                queries = _load(q, batch * q_batch + head * q_head, row, length, column, width, q_token)
                slope = _load(of_output, place * width, row, length, column, width, width)
                log_total = tl.load(normaliser + place + row, mask=row < length, other=float("inf"))
                mean = tl.load(delta + place + row, mask=row < length, other=0.0)
                scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
                p = tl.where(allowed, tl.exp(scores - log_total[:, None]), 0.0)
                added_v += tl.dot(tl.trans(p).to(slope.dtype), slope, input_precision="ieee")
                of_p = tl.dot(slope, tl.trans(values), input_precision="ieee")
                of_scores = p * (of_p - mean[:, None]) * scale
                added_k += tl.dot(tl.trans(of_scores).to(queries.dtype), queries, input_precision="ieee")
    place = pair.to(tl.int64) * length + key
    inside = (key < length)[:, None] & (column < width)[None, :]
    tl.store(of_k + place[:, None] * width + column[None, :], added_k, mask=inside)
    tl.store(of_v + place[:, None] * width + column[None, :], added_v, mask=inside)


def _bounds(ids: Tensor, tiles: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest ids of each tile: int64 [kinds, batch, tiles] each; padding repeats the last token."""
    missing = tiles * TILE - ids.shape[2]
    padded = torch.cat([ids, ids[:, :, -1:].expand(-1, -1, missing)], 2).unflatten(2, (tiles, TILE))
    return padded.amin(-1).contiguous(), padded.amax(-1).contiguous()


def _prepared(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Widths in one piece, and keys and values laid out alike."""
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    return (q, k, v) if k.stride() == v.stride() else (q, k.contiguous(), v.contiguous())


def forward(q: Tensor, k: Tensor, v: Tensor, ids: Tensor, noisy: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Output [B, H, T, D], and the logarithm of each row's normaliser [B, H, T] in float32."""
    q, k, v = _prepared(q, k, v)
    ids = ids.contiguous()
    batch, heads, length, width = q.shape
    output = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    normaliser = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    tiles = triton.cdiv(length, TILE)
    if output.numel():
        _forward_kernel[(tiles, batch * heads)](
            q, k, v, ids, *_bounds(ids, tiles), output, normaliser, *q.stride()[:3], *k.stride()[:3], heads,
            heads // k.shape[1], ids.shape[1], length, width, tiles, scale,
            NOISY=noisy, DOCUMENTS=len(ids) > 3, TILE=TILE, WIDTH=max(16, triton.next_power_of_2(width)),
        )  # fmt: skip
    return output, normaliser


def backward(
    of_output: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    normaliser: Tensor,
    ids: Tensor,
    noisy: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v."""
    q, k, v = _prepared(q, k, v)
    ids, of_output = ids.contiguous(), of_output.contiguous()
    batch, heads, length, width = q.shape
    of_q, of_k, of_v = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    if not q.numel():
        return of_q, of_k, of_v
    delta = (of_output.float() * output.float()).sum(-1)
    tiles = triton.cdiv(length, TILE)
    shared = (of_output, normaliser, delta, ids, *_bounds(ids, tiles))
    sizes = (*q.stride()[:3], *k.stride()[:3], heads, heads // k.shape[1], ids.shape[1], length, width, tiles, scale)
    options = {"NOISY": noisy, "DOCUMENTS": len(ids) > 3, "TILE": TILE, "WIDTH": max(16, triton.next_power_of_2(width))}
    _query_kernel[(tiles, batch * heads)](q, k, v, *shared, of_q, *sizes, **options)
    _key_kernel[(tiles, batch * k.shape[1])](q, k, v, *shared, of_k, of_v, *sizes, **options)
    return of_q, of_k, of_v
