"""Attention of a block over a cache, and of block-diffusion training."""

from collections.abc import Callable
from functools import partial

import torch
from ar_core.attention import attend
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_kernels import block_attention, block_diffusion_attention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .case import Case

__all__ = ["cached_case", "training_case"]

Heads = tuple[int, int, int]
"""(H, Hkv, D)."""


def cached_case(
    heads: Heads, shape: tuple[int, int, int], device: str, dtype: torch.dtype, *, implementation: str = "auto"
) -> Case:
    """A bidirectional block at the end of the slots of a cache, rows of different lengths.

    Args:
        heads: of the model.
        shape: (B, Q, K).
        device: where.
        dtype: of queries and cache.
        implementation: of ours.
    """
    batch, queries, slots = shape
    q, k, v = _tensors(heads, batch, queries, slots, device, dtype)
    # From half full to full; a single row is full.
    visible = torch.linspace(slots, slots // 2 + queries, batch).long().to(device)
    allowed = (torch.arange(slots, device=device) < visible[:, None])[:, None, None].expand(-1, 1, queries, -1)
    seen = int(visible.sum())
    peers: dict[str, Callable[[], tuple[Tensor, ...]]] = {}
    if device.startswith("cuda"):
        # Kernels of torch that do not share key heads want the keys of all heads, and have them here for nothing.
        wide_k, wide_v = (x.repeat_interleave(heads[0] // heads[1], 1) for x in (k, v))
        peers["SDPA, keys of all heads at hand"] = lambda: (
            scaled_dot_product_attention(q, wide_k, wide_v, attn_mask=allowed),
        )
        if batch == 1:
            # A single row sees all slots, so that no mask is needed.
            peers["SDPA without a mask"] = lambda: (scaled_dot_product_attention(q, k, v, enable_gqa=True),)
    return Case(
        op="block_attention",
        size=f"B={batch}, H={heads[0]}/{heads[1]}, D={heads[2]}, {queries} queries, {slots} slots, {_name(dtype)}",
        runs={
            "dense SDPA": lambda: (scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True),),
            **peers,
            "ar_kernels": lambda: (
                block_attention(q, k, v, visible - queries, visible, implementation=implementation),  # type: ignore[arg-type]
            ),
        },
        ours="ar_kernels",
        most=1e-4 if dtype == torch.float32 else 2e-2,
        flops=2 * 2 * heads[0] * heads[2] * queries * seen,
        bytes=torch.finfo(dtype).bits // 8 * 2 * heads[2] * (heads[1] * seen + heads[0] * queries * batch),
    )


def training_case(heads: Heads, shape: tuple[int, int, int], device: str, dtype: torch.dtype, *, kernel: bool) -> Case:
    """Forward and backward over [noised | clean]: dense SDPA, the exact backend of ar-core, the kernel.

    Args:
        heads: of the model.
        shape: (B, L, block size).
        device: where.
        dtype: of all tensors.
        kernel: whether the Triton kernel can run here; else ours is what ar-core takes on this device.
    """
    batch, length, block = shape
    tokens = block_diffusion_layout(block_grid(length, block)).tokens
    mask = block_diffusion_mask(tokens).to(device)
    given = [x.requires_grad_() for x in _tensors(heads, batch, tokens.length, tokens.length, device, dtype)]
    slope = torch.randn(given[0].shape, generator=torch.Generator(device).manual_seed(5), device=device).to(dtype)
    stream, blocks = (tokens[name].view(1, -1).to(device) for name in ("stream", "block"))

    def both(compute: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        output = compute(*given)
        return (output.detach(), *torch.autograd.grad(output, given, slope))

    def of_kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return block_diffusion_attention(q, k, v, stream, blocks, implementation="triton")

    backend = "flex" if device.startswith("cuda") else "segments"
    runs = {
        "dense SDPA": lambda: both(partial(attend, mask=mask, backend="sdpa")),
        backend: lambda: both(partial(attend, mask=mask, backend=backend)),
        **({"ar_kernels": lambda: both(of_kernel)} if kernel else {}),
    }
    return Case(
        op="block_diffusion_attention",
        size=f"B={batch}, H={heads[0]}/{heads[1]}, D={heads[2]}, L={length}, blocks of {block}, {_name(dtype)}, with gradients",
        runs=runs,
        ours="ar_kernels" if kernel else backend,
        most=1e-4 if dtype == torch.float32 else 2e-2,
        # Two products forward, five backward.
        flops=7 * 2 * batch * heads[0] * heads[2] * int(mask.dense().sum()),
        bytes=torch.finfo(dtype).bits // 8 * batch * tokens.length * heads[2] * 4 * (heads[0] + heads[1]),
    )


def _tensors(
    heads: Heads, batch: int, queries: int, keys: int, device: str, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    shapes = [(batch, heads[0], queries, heads[2]), *[(batch, heads[1], keys, heads[2])] * 2]
    q, k, v = (torch.randn(shape, generator=generator, device=device).to(dtype) for shape in shapes)
    return q, k, v


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
