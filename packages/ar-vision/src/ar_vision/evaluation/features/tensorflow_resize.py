"""Bilinear resizing as TensorFlow 1 does it, on which the published Inception statistics rest."""

import torch
from torch import Tensor

__all__ = ["tensorflow_resize"]


def tensorflow_resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize without half-pixel centres and without antialiasing: output place i takes the input at i · (input / output).

    ``torch.nn.functional.interpolate`` samples at (i + 1/2) · ratio - 1/2, which shifts the image by up to half a pixel.

    Args:
        images: float [B, C, H, W].
        size: (height, width) wanted.

    Returns:
        [B, C, height, width], of the same dtype.
    """
    columns = _between(images, 3, size[1])
    return _between(columns, 2, size[0])


def _between(images: Tensor, dim: int, count: int) -> Tensor:
    length = images.shape[dim]
    # The ratio is rounded to float32 first, as in TensorFlow: places differ otherwise.
    ratio = torch.tensor(length / count, dtype=torch.float32, device=images.device)
    places = torch.arange(count, dtype=torch.float32, device=images.device) * ratio
    low = places.long()
    high = (low + 1).clamp(max=length - 1)
    share = (places - low).to(images.dtype).view([-1 if axis == dim else 1 for axis in range(images.ndim)])
    first = images.index_select(dim, low)
    return first + (images.index_select(dim, high) - first) * share
