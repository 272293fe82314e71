"""A block of queries against a windowed, ragged KV cache.

Source: online softmax (arXiv 1805.02867), split over the slots as in Flash-Decoding (Dao et al., 2023); windows and tiles
are ours.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ar_kernels.block_attention.inputs import check_heads
from ar_kernels.block_attention.reference import cached_mask
from ar_kernels.implementation import use_triton

__all__ = ["block_attention"]

MOST_QUERIES = 256


def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: Tensor,
    visible: Tensor,
    tile: Tensor | None = None,
    rows: Tensor | None = None,
    *,
    scale: float | None = None,
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Tensor:
    """Attention of a window of Q queries over the slots of a cache, of which the window's own are some.

    Row b sees the slots below `visible[b]`; of those of its window, `start[b]` to `start[b] + W`, a query sees what its line
    of the tile shows. With no tile the window is bidirectional: a block that is denoised. A tile is causal, a tree of
    candidates with their ancestors (W = Q), or any mask over all slots (W = K). For inference: no gradients.

    The Triton kernel puts the query heads that share a key head, and all queries of the window, into the rows of one
    product, and splits the slots over programs where rows are few.

    Args:
        q: [B, H, Q, D], Q at most 256.
        k: [B, Hkv, K, D], slots of a cache; H is a multiple of Hkv. Slots that no row sees may hold anything finite.
        v: [B, Hkv, K, D].
        start: int64 [B].
        visible: int64 [B], 0 to K. Triton takes what lies outside for the nearer of the two, since to look would wait for the
            device.
        tile: bool [B or 1, Q, W], True where the query may see the key; None, or W = 0: all.
        rows: int64 [B], which row of the cache each row reads, that then may have any number of rows; repeats allowed. Triton
            does not look whether the cache has them. None: its own.
        scale: of the scores; None: 1 / sqrt(D).
        implementation: `auto` takes Triton on CUDA; elsewhere torch, which computes no more slots than a row sees.

    Returns:
        [B, H, Q, D], dtype of q; 0 for a query that sees nothing.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, there are too many queries, gradients are wanted, or (torch alone)
            the cache has no such slots or rows.
    """
    _check(q, k, v, start, visible, tile, rows)
    triton = use_triton(implementation, q)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out: Tensor = torch.ops.ar_kernels.block_attention(
        q.detach(), k.detach(), v.detach(), start, visible, tile, rows, scale, triton
    )
    return out


def _check(
    q: Tensor, k: Tensor, v: Tensor, start: Tensor, visible: Tensor, tile: Tensor | None, rows: Tensor | None
) -> None:
    fit = q.ndim == k.ndim == 4 and k.shape == v.shape and q.shape[3] == k.shape[3]
    if not fit or (rows is None and q.shape[0] != k.shape[0]):
        raise ValueError(
            f"queries are {tuple(q.shape)}, keys {tuple(k.shape)} and values {tuple(v.shape)}: give [B, H, Q, D] and twice "
            "[B, Hkv, K, D]"
        )
    check_heads(q, k, v)
    if q.shape[2] > MOST_QUERIES:
        raise ValueError(f"a window of {q.shape[2]} queries is longer than {MOST_QUERIES}: use attention for prefill")
    for name, ids in (("start", start), ("visible", visible), ("rows", rows)):
        if ids is None:
            continue
        if ids.shape != q.shape[:1] or ids.dtype != torch.int64:
            raise ValueError(f"{name} is {ids.dtype} {tuple(ids.shape)}: give int64 [{q.shape[0]}]")
    if tile is not None and (
        tile.dtype != torch.bool
        or tile.ndim != 3
        or tile.shape[1] != q.shape[2]
        or tile.shape[0] not in (1, q.shape[0])
    ):
        raise ValueError(
            f"the tile is {tile.dtype} {tuple(tile.shape)}: give bool [{q.shape[0]} or 1, {q.shape[2]}, W]"
        )
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise ValueError("block_attention reads a cache and has no gradients: run it under torch.no_grad")


@torch.library.custom_op("ar_kernels::block_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: Tensor,
    visible: Tensor,
    tile: Tensor | None,
    rows: Tensor | None,
    scale: float,
    triton: bool,
) -> Tensor:
    if triton:
        from ar_kernels.block_attention.cached_triton import launch

        return launch(q, k, v, start, visible, tile, rows, scale)
    return _row_by_row(q, k, v, start, visible, tile, rows, scale)


@_forward.register_fake
def _(q, k, v, start, visible, tile, rows, scale, triton):  # type: ignore[no-untyped-def]  # as the op above
    return torch.empty_like(q, memory_format=torch.contiguous_format)


def _row_by_row(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: Tensor,
    visible: Tensor,
    tile: Tensor | None,
    rows: Tensor | None,
    scale: float,
) -> Tensor:
    """Rows that stand at the same slots go together; what a row does not see is not computed."""
    output = torch.empty_like(q, memory_format=torch.contiguous_format)
    places = list(zip(start.tolist(), visible.tolist(), strict=True))
    for name, ids, most in (
        ("visible", [seen for _, seen in places], k.shape[2]),
        ("rows", [] if rows is None else rows.tolist(), len(k) - 1),
    ):
        if ids and not 0 <= min(ids) <= max(ids) <= most:
            raise ValueError(
                f"{name} lies between {min(ids)} and {max(ids)} and must lie between 0 and {most}: the cache has no others"
            )
    groups = {place: [row for row, other in enumerate(places) if other == place] for place in dict.fromkeys(places)}
    for (_, seen), alike in groups.items():
        if not seen:
            output[alike] = 0
            continue
        whole = len(groups) == 1
        own_q = q if whole else q[alike]
        read = (None if whole else alike) if rows is None else rows if whole else rows[alike]
        own_k, own_v = (x if read is None else x[read] for x in (k[:, :, :seen], v[:, :, :seen]))
        allowed = None
        if tile is not None:
            shown = tile if len(tile) == 1 else tile[alike]
            allowed = cached_mask(start[alike], visible[alike], q.shape[2], seen, shown)
        found = scaled_dot_product_attention(
            own_q, own_k, own_v, attn_mask=allowed, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
        if whole:
            return found.contiguous()
        output[alike] = found
    return output
