"""The range of pixel values: uint8 at the files' edge, floats in [-1, 1] everywhere else."""

import torch
from ar_core.errors import DataError
from torch import Tensor

__all__ = ["to_signed"]


def to_signed(image: Tensor) -> Tensor:
    """Return an image or a batch as float32 in [-1, 1].

    Args:
        image: uint8 of any shape in 0 to 255, or floats that are in [-1, 1] already.

    Raises:
        DataError: The values are of another type.
    """
    if image.dtype == torch.uint8:
        return image.to(torch.float32) / 127.5 - 1
    if not image.is_floating_point():
        raise DataError(f"an image of {image.dtype} was given; give uint8 in 0 to 255, or floats in [-1, 1]")
    return image.to(torch.float32)
