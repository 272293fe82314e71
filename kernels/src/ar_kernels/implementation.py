"""Who computes an op: the choice that all of them offer."""

import torch
from torch import Tensor

__all__ = ["use_triton"]


def use_triton(implementation: str, given: Tensor) -> bool:
    """Whether Triton computes it: `auto` takes it on CUDA, but for float64.

    Args:
        implementation: `auto`, `torch` or `triton`.
        given: an operand, of any shape.

    Raises:
        ValueError: there is no such implementation, or it cannot compute in this dtype.
    """
    if implementation not in ("auto", "torch", "triton"):
        raise ValueError(f"implementation is {implementation!r}: give auto, torch or triton")
    if implementation == "triton" and given.dtype == torch.float64:
        raise ValueError("the Triton kernel computes in float32 and was given float64: use implementation='torch'")
    return implementation == "triton" or (implementation == "auto" and given.is_cuda and given.dtype != torch.float64)
