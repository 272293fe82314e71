"""Gumbel noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

__all__ = ["gumbel_noise"]


def gumbel_noise(shape: Sequence[int], generator: Generator, device: torch.device | str = "cpu") -> Tensor:
    """Standard Gumbel noise `[*shape]`, float32, finite; `argmax(logits / T + noise)` is a draw from `softmax(logits / T)`.

    Drawn on the generator's device and moved, so that the values depend on the seed alone. Gumbel-max trick (Maddison et al.,
    arXiv 1411.0030).
    """
    # -log of a standard exponential; the exponential is drawn in float64, where a zero does not occur in practice, and
    # clamped, so that no infinity can.
    draws = torch.empty(tuple(shape), dtype=torch.float64, device=generator.device)
    draws.exponential_(generator=generator).clamp_(min=torch.finfo(torch.float64).tiny)
    return draws.log_().neg_().float().to(device)
