"""Checks that both forms of the op share."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["check", "use_triton"]


def check(vocabulary: int, temperature: float, banned_ids: Sequence[int]) -> None:
    """Refuse what has no answer.

    Raises:
        ValueError: in one sentence.
    """
    if not temperature > 0:
        raise ValueError(f"confidence takes a positive temperature, got {temperature}: for greedy decoding use 1")
    outside = [i for i in banned_ids if not 0 <= i < vocabulary]
    if outside:
        raise ValueError(f"banned id {outside[0]} is outside of the vocabulary 0..{vocabulary - 1}: remove it")
    if len(set(banned_ids)) >= vocabulary:
        raise ValueError(f"all {vocabulary} ids are banned: leave at least one to choose from")


def use_triton(implementation: str, given: Tensor) -> bool:
    """Whether Triton computes it.

    Raises:
        ValueError: there is no such implementation, or it cannot compute in this dtype.
    """
    if implementation not in ("auto", "torch", "triton"):
        raise ValueError(f"implementation is {implementation!r}: give auto, torch or triton")
    if implementation == "triton" and given.dtype == torch.float64:
        raise ValueError("the Triton kernel computes in float32 and was given float64: use implementation='torch'")
    return implementation == "triton" or (implementation == "auto" and given.is_cuda and given.dtype != torch.float64)
