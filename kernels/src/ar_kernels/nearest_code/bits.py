"""Binary spherical quantisation, whose codebook of 2^d unit vectors is never there.

Source: binary spherical quantisation (arXiv 2406.07548).
"""

import math

import torch
from torch import Tensor

__all__ = ["code_of_bits", "nearest_bits"]


def nearest_bits(x: Tensor) -> Tensor:
    """Bits of the nearest of the 2^d codes with entries +-1/sqrt(d) (arXiv 2412.04431): whether each entry is positive.

    Normalising x first changes no sign. Zero, which is as near to both, and NaN have bit 0. Not differentiable.

    Args:
        x: [..., d], any floating dtype.

    Returns:
        bool [..., d].

    Example:
        >>> nearest_bits(torch.tensor([0.3, 0.0, -2.0]))
        tensor([ True, False, False])
    """
    return x > 0


def code_of_bits(bits: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """(2b - 1) / sqrt(d), a vector of length 1.

    Args:
        bits: bool, or integers 0 and 1, [..., d].
        dtype: of the result.

    Returns:
        [..., d].

    Example:
        >>> code_of_bits(torch.tensor([1, 0, 0, 0]))
        tensor([ 0.5000, -0.5000, -0.5000, -0.5000])
    """
    return bits.to(dtype).mul(2).sub(1).div(math.sqrt(bits.shape[-1]))
