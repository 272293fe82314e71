"""One op at one size: its implementations, what they must agree on, and the least that it costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Case", "disagreement"]

MOST_IDS = 1e-3

Run = Callable[[], tuple[Tensor, ...]]
"""Computes outputs and, of ops with a backward pass, gradients."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        op: name in ar_kernels.
        size: in words, with its numbers.
        runs: implementations by name; the first is the reference that the others are held against and compared with.
        ours: which of them is the op.
        most: error ratio (RMS over RMS) that an implementation may have; wider dtypes have smaller ones. Of ids, one in a
            thousand may differ.
        flops: multiplications and additions of the matrix products that cannot be left out.
        bytes: what must be read and written at least.
    """

    op: str
    size: str
    runs: Mapping[str, Run]
    ours: str
    most: float
    flops: float
    bytes: float

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.op}, {self.size}"


def disagreement(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Largest error ratio over the outputs; infinite where something is not finite, or where more than a thousandth of ids differ."""
    ratios = []
    for one, other in zip(found, expected, strict=True):
        if not one.is_floating_point():
            share = float((one != other).double().mean())
            ratios.append(share if share <= MOST_IDS else float("inf"))
            continue
        one, other = one.detach().double(), other.detach().double()
        if not bool(torch.isfinite(one).all()):
            return float("inf")
        scale = other.square().mean().sqrt().clamp_min(1e-30)
        ratios.append(float((one - other).square().mean().sqrt() / scale))
    return max(ratios)
