"""The range of pixel values: uint8 at the files' edge, floats in [-1, 1] everywhere else."""

import torch
from ar_core.errors import DataError
from torch import Tensor

__all__ = ["to_bytes", "to_signed"]


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


def to_bytes(images: Tensor) -> Tensor:
    """Return images as uint8 of the same shape: clamped to [-1, 1], then rounded to the nearest of 256 levels.

    Args:
        images: float of any shape, about in [-1, 1].

    Raises:
        DataError: A value is not a number.
    """
    if bool(images.isnan().any()):
        raise DataError("an image has values that are not numbers: the model that made it has diverged")
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
