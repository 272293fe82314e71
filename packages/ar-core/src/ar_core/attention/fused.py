"""PyTorch's fused attention, in the dtype that is fast: what the backends of this package that compute with it have in common."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["attention_dtype", "fused_attention"]

# PyTorch's CPU backward in 16 bits pays for every small matrix; larger ones it computes faster than those of fp32. Where that
# turns varies with the shape: between 2^20 and 2^22 on CPUs with units for bfloat16.
_SMALL = 2**21
# Asked once: PyTorch 2.11 does not compile the question.
_AUTOCAST = frozenset(kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind))


def fused_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, scale: float | None) -> Tensor:
    """Scaled dot product attention, which trains small products in 16 bits on a CPU in fp32 and rounds the result once.

    A product is small if Q K D is at most 2^21, for one head of one row; the size of the batch plays no part. Without gradients the
    16 bits are kept, so what is computed with and without them differs by rounding.

    Args:
        q: [B, H, Q, D].
        k: [B, Hkv, K, D], H a multiple of Hkv.
        v: [B, Hkv, K, D].
        allowed: bool, broadcasts to [B, H, Q, K]; None: everything.
        scale: factor on q k^T; None: 1 / sqrt(D).

    Returns:
        [B, H, Q, D], of `attention_dtype`; 0 for a query that may see no key.
    """
    gqa = q.shape[1] != k.shape[1]
    dtype = attention_dtype(q)
    small = q.shape[2] * k.shape[2] * q.shape[3] <= _SMALL
    if q.device.type == "cpu" and dtype.itemsize == 2 and small and _need_gradient(q, k, v):
        with torch.autocast("cpu", enabled=False):
            attended = scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=allowed, scale=scale, enable_gqa=gqa
            )
        return attended.to(dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale, enable_gqa=gqa)


def attention_dtype(q: Tensor) -> torch.dtype:
    """Dtype of what queries `[B, H, Q, D]` attend to: their own, or that of autocast where it is on, which leaves float64
    alone.
    """
    device = q.device.type
    if q.dtype == torch.float64 or device not in _AUTOCAST or not torch.is_autocast_enabled(device):
        return q.dtype
    return torch.get_autocast_dtype(device)


def _need_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
