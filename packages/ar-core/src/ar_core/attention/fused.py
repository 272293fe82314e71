"""PyTorch's fused attention, in the dtype that is fast: what the backends of this package that compute with it have in common."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["fused_attention"]

# PyTorch's CPU backward in 16 bits pays for every small matrix: with 64 channels it takes twice the fp32 time for 128 queries
# and keys, as long for 128 and 400, and less from 256 and 256 on.
_SMALL = 2**21


def fused_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, scale: float | None) -> Tensor:
    """Scaled dot product attention; small products in 16 bits that need gradients on a CPU are computed in fp32 and rounded once.

    Args:
        q: [B, H, Q, D].
        k: [B, Hkv, K, D], H a multiple of Hkv.
        v: [B, Hkv, K, D].
        allowed: bool, broadcasts to [B, H, Q, K]; None: everything.
        scale: factor on q k^T; None: 1 / sqrt(D).

    Returns:
        [B, H, Q, D], dtype of q, or that of autocast where it is on; 0 for a query that may see no key.
    """
    gqa = q.shape[1] != k.shape[1]
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
    small = q.shape[2] * k.shape[2] * q.shape[3] <= _SMALL
    if q.device.type == "cpu" and dtype.itemsize == 2 and small and _need_gradient(q, k, v):
        with torch.autocast("cpu", enabled=False):
            attended = scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=allowed, scale=scale, enable_gqa=gqa
            )
        return attended.to(dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale, enable_gqa=gqa)


def _need_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
