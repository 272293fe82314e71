"""Attention of block-diffusion training over noised views and the clean stream.

Source: the mask of block diffusion (BD3-LM, arXiv 2503.09573); tiles that are skipped as in FlashAttention-2 (arXiv
2307.08691).
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ar_kernels.block_attention.inputs import check_heads
from ar_kernels.block_attention.reference import training_mask
from ar_kernels.implementation import use_triton

__all__ = ["block_diffusion_attention"]


def block_diffusion_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    stream: Tensor,
    block: Tensor,
    order: Tensor | None = None,
    document: Tensor | None = None,
    *,
    context: Literal["clean", "noisy"] = "clean",
    scale: float | None = None,
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Tensor:
    """Attention over [noised | clean] or [view 1 | view 2 | clean], with gradients; ids say who sees whom.

    A noised query sees the noised tokens of its own stream and block, and the clean ones of earlier blocks; a clean query the
    clean tokens up to its own in `order`. Documents do not see each other. Tiles that the rule hides whole are skipped by
    the smallest and largest ids of their rows and columns, a few numbers a tile, so that nothing is rendered before.

    Args:
        q: [B, H, T, D].
        k: [B, Hkv, T, D], H a multiple of Hkv.
        v: [B, Hkv, T, D].
        stream: int64 [B or 1, T]: 0 clean; 1, 2, ... noised views.
        block: int64 [B or 1, T].
        order: int64 [B or 1, T]; None: `block`, a clean stream that is causal over blocks. Positions make it causal over
            tokens.
        document: int64 [B or 1, T]; None: one.
        context: what noised queries see of earlier blocks: `clean` tokens, or the `noisy` ones of their own stream.
        scale: of the scores; None: 1 / sqrt(D).
        implementation: `auto` takes Triton on CUDA and a dense mask elsewhere.

    Returns:
        [B, H, T, D], dtype of q; 0 for a query that sees nothing.

    Raises:
        ValueError: shapes, dtypes, devices or ids do not fit.
    """
    if q.ndim != 4 or k.shape != v.shape or k.ndim != 4 or (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        raise ValueError(
            f"queries are {tuple(q.shape)}, keys {tuple(k.shape)} and values {tuple(v.shape)}: give [B, H, T, D] and twice "
            "[B, Hkv, T, D]"
        )
    check_heads(q, k, v)
    if context not in ("clean", "noisy"):
        raise ValueError(f"context is {context!r}: give clean or noisy")
    ids = [stream, block, block if order is None else order, *([] if document is None else [document])]
    for name, one in zip(("stream", "block", "order", "document"), ids):
        if (
            one.ndim != 2
            or one.shape[0] not in (1, q.shape[0])
            or one.shape[1] != q.shape[2]
            or one.dtype != torch.int64
        ):
            raise ValueError(f"{name} is {one.dtype} {tuple(one.shape)}: give int64 [{q.shape[0]} or 1, {q.shape[2]}]")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if use_triton(implementation, q):
        batch = max(len(one) for one in ids)
        packed = torch.stack([one.expand(batch, -1) for one in ids])
        out: Tensor = torch.ops.ar_kernels.block_diffusion_attention(q, k, v, packed, context == "noisy", scale)[0]
        return out
    allowed = training_mask(stream, block, ids[2], document, context)
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


@torch.library.custom_op("ar_kernels::block_diffusion_attention", mutates_args=())
def _forward(q: Tensor, k: Tensor, v: Tensor, ids: Tensor, noisy: bool, scale: float) -> tuple[Tensor, Tensor]:
    from ar_kernels.block_attention.training_triton import forward

    return forward(q, k, v, ids, noisy, scale)


@_forward.register_fake
def _(q, k, v, ids, noisy, scale):  # type: ignore[no-untyped-def]  # as the op above
    return torch.empty_like(q, memory_format=torch.contiguous_format), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("ar_kernels::block_diffusion_attention_backward", mutates_args=())
def _gradients(
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
    from ar_kernels.block_attention.training_triton import Saved, backward

    return backward(of_output, Saved(q, k, v, output, normaliser, ids), noisy, scale)


@_gradients.register_fake
def _(of_output, q, k, v, output, normaliser, ids, noisy, scale):  # type: ignore[no-untyped-def]  # as the op above
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, ids, ctx.noisy, ctx.scale = inputs
    ctx.save_for_backward(q, k, v, *output, ids)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, of_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, output, normaliser, ids = ctx.saved_tensors
    found = torch.ops.ar_kernels.block_diffusion_attention_backward(
        of_output, q, k, v, output, normaliser, ids, ctx.noisy, ctx.scale
    )
    return (*found, None, None, None)


_forward.register_autograd(_backward, setup_context=_setup)
