"""The order of an epoch."""

from functools import lru_cache

import torch
from torch import Tensor

from ..corruption import SampleRng

__all__ = ["epoch_order"]


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """A permutation of ``rows`` numbers, int64, a function of its arguments alone."""
    return torch.randperm(rows, generator=SampleRng(seed, epoch).row(0, "order of rows"))
