"""PyTorch's scaled dot product attention with a dense mask: always there, on every device, with gradients."""

from torch import Tensor

from ar_core.attention.fused import fused_attention
from ar_core.masks import Mask

__all__ = ["available", "compute", "refuses"]


def available() -> tuple[bool, str]:
    """Always."""
    return True, "part of torch"


def refuses(q: Tensor, k: Tensor, mask: Mask | None) -> str | None:
    """Nothing; see :meth:`ar_core.attention.backend.Backend.refuses`."""
    return None


def compute(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float | None) -> Tensor:
    """See :class:`ar_core.attention.backend.Backend`. A query that sees no key gives 0."""
    allowed = None if mask is None or mask.is_full else mask.dense()
    return fused_attention(q, k, v, allowed, scale)
