"""PyTorch's scaled dot product attention with a dense mask: always there, on every device, with gradients."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ar_core.masks import Mask

__all__ = ["available", "compute", "refuses"]

# PyTorch's CPU backward in 16 bits pays for every small matrix: 1.8 times the fp32 time for 130 tokens of 64 channels, 4 times
# for 64 of 32; from some 500 tokens of 64 channels on it is the faster one.
_SHORT = 256


def available() -> tuple[bool, str]:
    """Always."""
    return True, "part of torch"


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Nothing."""
    return None


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. A query that sees no key gives 0.

    Short sequences in 16 bits that need gradients on a CPU are computed in fp32 and rounded once, at the end.
    """
    allowed = None if mask is None or mask.is_full else mask.dense()
    gqa = q.shape[1] != k.shape[1]
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
    if q.device.type == "cpu" and dtype.itemsize == 2 and k.shape[2] <= _SHORT and _needs_gradient(q, k, v):
        with torch.autocast("cpu", enabled=False):
            attended = scaled_dot_product_attention(
                q.float(), k.float(), v.float(), attn_mask=allowed, scale=scale, enable_gqa=gqa
            )
        return attended.to(dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=scale, enable_gqa=gqa)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
