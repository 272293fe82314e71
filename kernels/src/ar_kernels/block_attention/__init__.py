"""Attention of block diffusion: a block of queries over a KV cache, and the training form over [noised | clean]."""

from ar_kernels.block_attention.cached import block_attention
from ar_kernels.block_attention.training import block_diffusion_attention

__all__ = ["block_attention", "block_diffusion_attention"]
