"""The cache of a next-scale transformer.

Source: ours.
"""

from typing import Protocol

import torch
from ar_core.cache import WindowedKVCache
from torch import Tensor

__all__ = ["scale_cache"]


class _Shape(Protocol):
    @property
    def depth(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def width(self) -> int: ...


def scale_cache(config: _Shape, weight: Tensor, rows: int, capacity: int) -> WindowedKVCache:
    """Return an empty cache for all layers, in the dtype in which attention runs: autocast's where that is on.

    Args:
        config: has ``depth``, ``heads`` and ``width``.
        weight: any of the transformer, of any shape, for its device and dtype.
        rows: R.
        capacity: tokens of all scales.
    """
    device = weight.device
    autocast = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type) if autocast else weight.dtype
    return WindowedKVCache(
        config.depth, rows, config.heads, config.width // config.heads, capacity, dtype=dtype, device=device
    )
