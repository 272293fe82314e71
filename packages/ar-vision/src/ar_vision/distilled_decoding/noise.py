"""Gaussian noise as a function of one number, by a counter-based generator: stored as 8 bytes, in place of 4 n Cv.

Source: ours.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["RNG", "noise_of"]

RNG = "philox4x64-10, Box-Muller in float64, version 1"
"""What data sets write into their header: raw numbers of Philox are the same in every version of numpy, its normal numbers are not."""


def noise_of(seeds: Sequence[int], tokens: int, dim: int) -> Tensor:
    """Return the noise of B images, float32 [B, n, Cv], on the CPU.

    Pairs (u, v) of uniform numbers become sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v). An image's noise depends on its own seed alone.

    Args:
        seeds: B numbers, taken modulo 2^64.
        tokens: n.
        dim: Cv.
    """
    count = tokens * dim
    rows = [_normal(seed % 2**64, count) for seed in seeds]
    return torch.from_numpy(np.stack(rows)).view(len(rows), tokens, dim)


def _normal(seed: int, count: int) -> np.ndarray:
    raw = np.random.Philox(key=seed).random_raw(2 * -(-count // 2)).reshape(2, -1) >> np.uint64(11)
    # In (0, 1], so that the logarithm is finite.
    radius = np.sqrt(-2 * np.log((raw[0] + np.uint64(1)) * 2.0**-53))
    angle = raw[1] * (2.0**-53 * 2 * np.pi)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:count].astype(np.float32)
