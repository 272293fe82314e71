"""The order of an epoch."""

from functools import lru_cache

import torch
from torch import Tensor

from ..corruption import SampleRng

__all__ = ["epoch_order"]


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """A permutation of 0 to rows - 1, int64 [rows], a function of its arguments alone."""
    return torch.randperm(rows, generator=SampleRng(seed, epoch).row(0, "order of rows"))
