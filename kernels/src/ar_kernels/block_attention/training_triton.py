"""`block_diffusion_attention` as Triton kernels, forward and backward.

Which tiles of keys a tile of queries sees, and of those all of which, follows from the smallest and largest ids of both:
a list for each tile, whole ones first, which need no mask. Scores are made again in the backward pass from the normaliser of
each row. Gradients of keys and values are made for every query head by the program that owns the keys, and added up over
those that share them, so that nothing is added atomically and two runs are equal.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start

__all__ = ["backward", "forward"]

LOG2_E = math.log2(math.e)


class Launch(NamedTuple):
    """Queries and keys of a tile, warps of a program, loads in flight."""

    queries: int
    keys: int
    warps: int
    stages: int


class Saved(NamedTuple):
    """What the backward pass needs of the forward one, as `forward` took or gave it."""

    q: Tensor
    """[B, H, T, D]."""
    k: Tensor
    """[B, Hkv, T, D]."""
    v: Tensor
    """[B, Hkv, T, D]."""
    output: Tensor
    """[B, H, T, D]."""
    normaliser: Tensor
    """float32 [B, H, T]."""
    ids: Tensor
    """int64 [3 or 4, B or 1, T]."""


NARROW = {"forward": Launch(64, 64, 4, 2), "queries": Launch(64, 64, 4, 2), "keys": Launch(64, 64, 4, 3)}
"""For heads of at most 256 bytes, 128 numbers in bfloat16."""
WIDE = dict.fromkeys(NARROW, Launch(32, 32, 4, 1))


@triton.jit
def _place(ids, lists, counts, heads, batch_ids, length, blocks, tiles):
    """Where a program stands: its pair of row and head, its tile, row and head; the ids of the row; and its list of tiles, of which
    so many are seen whole, and so many at all.
    """
    pair = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    batch = (pair // heads).to(tl.int64)
    head = (pair % heads).to(tl.int64)
    own = (batch % batch_ids) * blocks + block
    whole = tl.load(counts + 2 * own)
    seen = tl.load(counts + 2 * own + 1)
    return pair, block, batch, head, ids + (batch % batch_ids) * length, lists + own * tiles, whole, seen


@triton.jit
def _load(x, at, length, column, width, token_stride):
    return tl.load(
        x + at.to(tl.int64)[:, None] * token_stride + column[None, :],
        mask=(at < length)[:, None] & (column < width)[None, :],
        other=0.0,
    )


@triton.jit
def _ids(ids, kind_stride, at, length, DOCUMENTS: tl.constexpr):
    """Stream, block, order and document of some tokens, int64; padding gets a stream that nobody sees."""
    inside = at < length
    stream = tl.load(ids + at, mask=inside, other=-1)
    block = tl.load(ids + kind_stride + at, mask=inside, other=-1)
    order = tl.load(ids + 2 * kind_stride + at, mask=inside, other=-1)
    document = stream
    if DOCUMENTS:
        document = tl.load(ids + 3 * kind_stride + at, mask=inside, other=-1)
    return stream, block, order, document


@triton.jit
def _allowed(qs, qb, qo, qd, ks, kb, ko, kd, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr):
    """The rule, bool [queries, keys]. A padded key has a negative stream, which is neither clean nor any noised query's."""
    qs, qb, qo, qd = qs[:, None], qb[:, None], qo[:, None], qd[:, None]
    ks, kb, ko, kd = ks[None, :], kb[None, :], ko[None, :], kd[None, :]
    noised = (qs == ks) & (kb <= qb) if NOISY else ((qs == ks) & (qb == kb)) | ((ks == 0) & (kb < qb))
    found = ((qs > 0) & noised) | ((qs <= 0) & (ks == 0) & (ko <= qo))
    return found & (qd == kd) if DOCUMENTS else found


@triton.jit
def _attend(
    queries, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token, scale, best, total, added,
    MASKED: tl.constexpr, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr,
):  # fmt: skip
    """One tile of keys with online softmax, in powers of two."""
    keys = _load(k, key, length, column, width, k_token)
    scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
    if MASKED:
        ks, kb, ko, kd = _ids(ids, kind_stride, key, length, DOCUMENTS)
        allowed = _allowed(qs, qb, qo, qd, ks, kb, ko, kd, NOISY, DOCUMENTS)
        scores = tl.where(allowed, scores, -float("inf"))
    above = tl.maximum(best, tl.max(scores, axis=1))
    # Rows that have seen nothing yet have no maximum to subtract.
    shift = tl.where(above == -float("inf"), 0.0, above) if MASKED else above
    p = tl.exp2(scores - shift[:, None])
    kept = tl.exp2(best - shift)
    values = _load(v, key, length, column, width, k_token)
    added = tl.dot(p.to(values.dtype), values, added * kept[:, None], input_precision="ieee")
    return above, total * kept + tl.sum(p, axis=1), added


@triton.jit
def _forward_kernel(
    q, k, v, ids, lists, counts, output, normaliser, q_batch, q_head, q_token, k_batch, k_head, k_token, heads, group,
    batch_ids, length, width, blocks, tiles, scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair, block, batch, head, ids, lists, whole, seen = _place(
        ids, lists, counts, heads, batch_ids, length, blocks, tiles
    )
    row = block * QUERIES + tl.arange(0, QUERIES)
    column = tl.arange(0, WIDTH)
    offset = tl.arange(0, KEYS)
    kind_stride = batch_ids * length
    queries = _load(q + batch * q_batch + head * q_head, row, length, column, width, q_token)
    qs, qb, qo, qd = _ids(ids, kind_stride, row, length, DOCUMENTS)
    k += batch * k_batch + (head // group) * k_head
    v += batch * k_batch + (head // group) * k_head
    best = tl.full([QUERIES], -float("inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    added = tl.zeros([QUERIES, WIDTH], tl.float32)
    for n in range(0, whole):
        key = tl.load(lists + n) * KEYS + offset
        best, total, added = _attend(
            queries, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token, scale, best, total, added,
            False, NOISY, DOCUMENTS,
        )  # fmt: skip
    for n in range(whole, seen):
        key = tl.load(lists + n) * KEYS + offset
        best, total, added = _attend(
            queries, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token, scale, best, total, added,
            True, NOISY, DOCUMENTS,
        )  # fmt: skip
    blind = total == 0
    found = tl.where(blind[:, None], 0.0, added / tl.where(blind, 1.0, total)[:, None])
    place = pair.to(tl.int64) * length + row
    real = row < length
    tl.store(output + place[:, None] * width + column[None, :], found, mask=real[:, None] & (column < width)[None, :])
    # A blind row has the normaliser of one that sees nothing but minus infinities: every probability comes out as 0.
    tl.store(normaliser + place, tl.where(blind, float("inf"), best + tl.log2(tl.where(blind, 1.0, total))), mask=real)


@triton.jit
def _slopes(
    queries, slope, log_total, mean, keys, values, qs, qb, qo, qd, key, ids, kind_stride, length, scale,
    MASKED: tl.constexpr, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr,
):  # fmt: skip
    """Probabilities, and the gradients of the scores before they are scaled."""
    p = tl.exp2(tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale - log_total[:, None])
    if MASKED:
        ks, kb, ko, kd = _ids(ids, kind_stride, key, length, DOCUMENTS)
        p = tl.where(_allowed(qs, qb, qo, qd, ks, kb, ko, kd, NOISY, DOCUMENTS), p, 0.0)
    of_p = tl.dot(slope, tl.trans(values), input_precision="ieee")
    return p, p * (of_p - mean[:, None])


@triton.jit
def _of_queries(
    queries, slope, log_total, mean, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token, scale, added,
    MASKED: tl.constexpr, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr,
):  # fmt: skip
    keys = _load(k, key, length, column, width, k_token)
    values = _load(v, key, length, column, width, k_token)
    _, of_scores = _slopes(
        queries, slope, log_total, mean, keys, values, qs, qb, qo, qd, key, ids, kind_stride, length, scale, MASKED, NOISY,
        DOCUMENTS,
    )  # fmt: skip
    return tl.dot(of_scores.to(keys.dtype), keys, added, input_precision="ieee")


@triton.jit
def _query_kernel(
    q, k, v, of_output, normaliser, delta, ids, lists, counts, of_q, q_batch, q_head, q_token, k_batch, k_head, k_token,
    heads, group, batch_ids, length, width, blocks, tiles, scale, plain_scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair, block, batch, head, ids, lists, whole, seen = _place(
        ids, lists, counts, heads, batch_ids, length, blocks, tiles
    )
    row = block * QUERIES + tl.arange(0, QUERIES)
    column = tl.arange(0, WIDTH)
    offset = tl.arange(0, KEYS)
    kind_stride = batch_ids * length
    place = pair.to(tl.int64) * length
    real = row < length
    queries = _load(q + batch * q_batch + head * q_head, row, length, column, width, q_token)
    slope = _load(of_output + place * width, row, length, column, width, width)
    log_total = tl.load(normaliser + place + row, mask=real, other=float("inf"))
    mean = tl.load(delta + place + row, mask=real, other=0.0)
    qs, qb, qo, qd = _ids(ids, kind_stride, row, length, DOCUMENTS)
    k += batch * k_batch + (head // group) * k_head
    v += batch * k_batch + (head // group) * k_head
    added = tl.zeros([QUERIES, WIDTH], tl.float32)
    for n in range(0, whole):
        key = tl.load(lists + n) * KEYS + offset
        added = _of_queries(
            queries, slope, log_total, mean, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token,
            scale, added, False, NOISY, DOCUMENTS,
        )  # fmt: skip
    for n in range(whole, seen):
        key = tl.load(lists + n) * KEYS + offset
        added = _of_queries(
            queries, slope, log_total, mean, qs, qb, qo, qd, k, v, key, ids, kind_stride, length, column, width, k_token,
            scale, added, True, NOISY, DOCUMENTS,
        )  # fmt: skip
    at = of_q + (place + row)[:, None] * width + column[None, :]
    tl.store(at, added * plain_scale, mask=real[:, None] & (column < width)[None, :])


@triton.jit
def _of_keys(
    keys, values, key, q, of_output, normaliser, delta, row, ids, kind_stride, length, column, width, q_token, scale, added_k,
    added_v, MASKED: tl.constexpr, NOISY: tl.constexpr, DOCUMENTS: tl.constexpr,
):  # fmt: skip
    queries = _load(q, row, length, column, width, q_token)
    slope = _load(of_output, row, length, column, width, width)
    log_total = tl.load(normaliser + row, mask=row < length, other=float("inf"))
    mean = tl.load(delta + row, mask=row < length, other=0.0)
    qs, qb, qo, qd = _ids(ids, kind_stride, row, length, DOCUMENTS)
    p, of_scores = _slopes(
        queries, slope, log_total, mean, keys, values, qs, qb, qo, qd, key, ids, kind_stride, length, scale, MASKED, NOISY,
        DOCUMENTS,
    )  # fmt: skip
    added_v = tl.dot(tl.trans(p).to(slope.dtype), slope, added_v, input_precision="ieee")
    added_k = tl.dot(tl.trans(of_scores).to(queries.dtype), queries, added_k, input_precision="ieee")
    return added_k, added_v


@triton.jit
def _key_kernel(
    q, k, v, of_output, normaliser, delta, ids, lists, counts, of_k, of_v, q_batch, q_head, q_token, k_batch, k_head,
    k_token, heads, group, batch_ids, length, width, blocks, tiles, scale, plain_scale,
    NOISY: tl.constexpr, DOCUMENTS: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    pair, block, batch, head, ids, lists, whole, seen = _place(
        ids, lists, counts, heads, batch_ids, length, blocks, tiles
    )
    key = block * KEYS + tl.arange(0, KEYS)
    column = tl.arange(0, WIDTH)
    offset = tl.arange(0, QUERIES)
    kind_stride = batch_ids * length
    base = batch * k_batch + (head // group) * k_head
    keys = _load(k + base, key, length, column, width, k_token)
    values = _load(v + base, key, length, column, width, k_token)
    place = pair.to(tl.int64) * length
    q += batch * q_batch + head * q_head
    of_output += place * width
    normaliser += place
    delta += place
    added_k = tl.zeros([KEYS, WIDTH], tl.float32)
    added_v = tl.zeros([KEYS, WIDTH], tl.float32)
    for n in range(0, whole):
        row = tl.load(lists + n) * QUERIES + offset
        added_k, added_v = _of_keys(
            keys, values, key, q, of_output, normaliser, delta, row, ids, kind_stride, length, column, width, q_token, scale,
            added_k, added_v, False, NOISY, DOCUMENTS,
        )  # fmt: skip
    for n in range(whole, seen):
        row = tl.load(lists + n) * QUERIES + offset
        added_k, added_v = _of_keys(
            keys, values, key, q, of_output, normaliser, delta, row, ids, kind_stride, length, column, width, q_token, scale,
            added_k, added_v, True, NOISY, DOCUMENTS,
        )  # fmt: skip
    at = (place + key)[:, None] * width + column[None, :]
    inside = (key < length)[:, None] & (column < width)[None, :]
    tl.store(of_k + at, added_k * plain_scale, mask=inside)
    tl.store(of_v + at, added_v, mask=inside)


def _bounds(ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest ids of each tile, [kinds, batch, tiles]; padding repeats the last token."""
    tiles = triton.cdiv(ids.shape[2], size)
    missing = tiles * size - ids.shape[2]
    padded = torch.cat([ids, ids[:, :, -1:].expand(-1, -1, missing)], 2).unflatten(2, (tiles, size))
    return padded.amin(-1), padded.amax(-1)


def _tiles(ids: Tensor, sizes: Launch, noisy: bool) -> tuple[Tensor, Tensor]:
    """Whether a tile of queries may see a tile of keys, and whether all of it sees all: bool [batch, query tiles, key tiles].

    The first is never wrongly no, the second never wrongly yes.
    """
    (low_q, high_q), (low_k, high_k) = _bounds(ids, sizes.queries), _bounds(ids, sizes.keys)
    (qs, qb, qo, *qd), (qs_, qb_, qo_, *qd_) = low_q[..., None].unbind(), high_q[..., None].unbind()
    (ks, kb, ko, *kd), (ks_, kb_, ko_, *kd_) = low_k[:, :, None].unbind(), high_k[:, :, None].unbind()
    one_stream, one_block = (qs == qs_) & (ks == ks_) & (qs == ks), (qb == qb_) & (kb == kb_) & (qb == kb)
    may_share = (qs <= ks_) & (ks <= qs_)
    may_be_clean, all_clean = (ks <= 0) & (ks_ >= 0), (ks == 0) & (ks_ == 0)
    if noisy:
        may, whole = may_share & (kb <= qb_), one_stream & (kb_ <= qb)
    else:
        may = (may_share & (qb <= kb_) & (kb <= qb_)) | (may_be_clean & (kb < qb_))
        whole = (one_stream & one_block) | (all_clean & (kb_ < qb))
    may = ((qs_ > 0) & may) | ((qs <= 0) & may_be_clean & (ko <= qo_))
    whole = ((qs > 0) & whole) | ((qs_ <= 0) & all_clean & (ko_ <= qo))
    for (low_one, high_one), (low_other, high_other) in zip(zip(qd, qd_), zip(kd, kd_)):
        may = may & (low_one <= high_other) & (low_other <= high_one)
        whole = whole & (low_one == high_one) & (low_other == high_other) & (low_one == low_other)
    if ids.shape[2] % sizes.keys:
        whole[..., -1] = False
    return may, whole


def _lists(may: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of tiles: numbers of those that are seen, whole ones first, and how many are whole, and seen; int32."""
    order = torch.sort(torch.where(whole, 0, torch.where(may, 1, 2)), dim=-1, stable=True).indices
    counts = torch.stack([whole.sum(-1), may.sum(-1)], -1)
    return order.int().contiguous(), counts.int()


def _prepared(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Widths in one piece, and keys and values laid out alike."""
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    return (q, k, v) if k.stride() == v.stride() else (q, k.contiguous(), v.contiguous())


def _launches(q: Tensor) -> dict[str, Launch]:
    return NARROW if q.shape[3] * q.element_size() <= 256 else WIDE


def _options(sizes: Launch, q: Tensor, ids: Tensor, noisy: bool) -> dict[str, int | bool]:
    return {
        "NOISY": noisy,
        "DOCUMENTS": len(ids) > 3,
        "QUERIES": sizes.queries,
        "KEYS": sizes.keys,
        "WIDTH": max(16, triton.next_power_of_2(q.shape[3])),
        "num_warps": sizes.warps,
        "num_stages": sizes.stages,
    }


def forward(q: Tensor, k: Tensor, v: Tensor, ids: Tensor, noisy: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Attention, and what its backward pass needs of the scores.

    Args:
        q: [B, H, T, D].
        k: [B, Hkv, T, D].
        v: [B, Hkv, T, D].
        ids: int64 [3 or 4, B or 1, T]: streams, blocks, orders and, where they are kept apart, documents.
        noisy: whether noised tokens are the context of later blocks (`context="noisy"`).
        scale: factor of the scores.

    Returns:
        Output [B, H, T, D], and the base-2 logarithm of each row's normaliser, float32 [B, H, T].
    """
    q, k, v = _prepared(q, k, v)
    ids = ids.contiguous()
    batch, heads, length, width = q.shape
    output = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    normaliser = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    if output.numel():
        sizes = _launches(q)["forward"]
        lists, counts = _lists(*_tiles(ids, sizes, noisy))
        start(
            _forward_kernel, (lists.shape[1] * batch * heads,), q, k, v, ids, lists, counts, output, normaliser, *q.stride()[:3], *k.stride()[:3], heads, heads // k.shape[1],
            ids.shape[1], length, width, *lists.shape[1:], scale * LOG2_E, **_options(sizes, q, ids, noisy),
        )  # fmt: skip
    return output, normaliser


def backward(of_output: Tensor, saved: Saved, noisy: bool, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v.

    Args:
        of_output: gradient of the output, [B, H, T, D].
        saved: of the forward pass.
        noisy: as in `forward`.
        scale: as in `forward`.

    Returns:
        [B, H, T, D] and twice [B, Hkv, T, D], in the dtypes of q, k and v.
    """
    q, k, v, output, normaliser, ids = saved
    q, k, v = _prepared(q, k, v)
    ids, of_output = ids.contiguous(), of_output.contiguous()
    batch, heads, length, width = q.shape
    group = heads // k.shape[1]
    of_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    # Those of each query head, which are rounded once they are added up.
    of_k, of_v = (
        torch.empty(q.shape, dtype=k.dtype if group == 1 else torch.float32, device=q.device) for _ in range(2)
    )
    if q.numel():
        delta = (of_output.float() * output.float()).sum(-1)
        shared = (of_output, normaliser, delta, ids)
        strides = (*q.stride()[:3], *k.stride()[:3], heads, group, ids.shape[1], length, width)
        for kernel, kind, outputs in ((_query_kernel, "queries", (of_q,)), (_key_kernel, "keys", (of_k, of_v))):
            sizes = _launches(q)[kind]
            may, whole = _tiles(ids, sizes, noisy)
            lists, counts = _lists(may, whole) if kind == "queries" else _lists(may.mT, whole.mT)
            start(
                kernel, (lists.shape[1] * batch * heads,), q, k, v, *shared, lists, counts, *outputs, *strides, *lists.shape[1:], scale * LOG2_E, scale,
                **_options(sizes, q, ids, noisy),
            )  # fmt: skip
    if group > 1:
        of_k, of_v = (x.unflatten(1, (-1, group)).sum(2).to(k.dtype) for x in (of_k, of_v))
    return of_q, of_k, of_v
