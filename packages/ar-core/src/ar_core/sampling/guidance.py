"""Classifier-free guidance.

Source: classifier-free guidance (arXiv 2207.12598, equation 6), in the notation w = scale - 1.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["guide"]


def guide(conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
    """Guided logits `unconditional + scale · (conditional - unconditional)`; 1 means none, 0 means unconditional.

    Published conventions differ: VAR writes `(1 + t) · conditional - t · unconditional`, which is `scale = 1 + t`; LlamaGen
    writes this formula. Loaders and samplers convert to `scale`.

    Args:
        conditional: logits `[..., V]`.
        unconditional: logits `[..., V]` of the null condition.
        scale: a number, or a tensor that broadcasts (per row, per scale).

    Returns:
        Logits `[..., V]`.
    """
    if isinstance(scale, int | float) and scale == 1:
        return conditional
    return unconditional + scale * (conditional - unconditional)
