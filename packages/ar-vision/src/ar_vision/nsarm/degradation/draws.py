"""Random numbers and choices from an explicit generator.

Source: ours.
"""

from collections.abc import Sequence

import torch
from torch import Generator

__all__ = ["chosen", "uniform"]


def uniform(low: float, high: float, generator: Generator) -> float:
    """Draw from U(low, high)."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=generator))


def chosen(shares: Sequence[float], generator: Generator) -> int:
    """Draw a number with these probabilities, of sum 1."""
    point, reached = uniform(0, 1, generator), 0.0
    for number, share in enumerate(shares):
        reached += share
        if point < reached:
            return number
    return max(number for number, share in enumerate(shares) if share)
