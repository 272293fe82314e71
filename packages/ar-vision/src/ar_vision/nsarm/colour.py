"""Colours of the result led back to those of the small image.

Source: adaptive instance normalisation (arXiv 1703.06868) and wavelet correction as StableSR (arXiv 2305.07015) and NSARM's
published code have them.
"""

from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .low_quality import enlarged_low

__all__ = ["COLOURS", "Colour", "adain", "corrected", "low_band", "wavelet"]

Colour: TypeAlias = Literal["both", "adain", "wavelet", "none"]
"""``both``: first adain, then wavelet, as published."""
COLOURS = get_args(Colour)
"""All means of correction."""

EPSILON = 1e-5
LEVELS = 5


def adain(image: Tensor, reference: Tensor) -> Tensor:
    """Return an image with mean and deviation of the reference in each channel: (x - mean) / std · std_ref + mean_ref.

    Args:
        image: float [3, H, W] in [0, 1].
        reference: float [3, h, w], any size.

    Returns:
        [3, H, W], not clamped.
    """
    own, wanted = (_moments(x) for x in (image, reference))
    return (image - own[0]) / own[1] * wanted[1] + wanted[0]


def low_band(image: Tensor, levels: int = LEVELS) -> Tensor:
    """Return what remains of an image [3, H, W] behind so many blurs by 1-2-1 with holes of 1, 2, 4, 8, 16 pixels, borders repeated."""
    # Channel by channel: an image of some dozens of megapixels is then held a third as often.
    return torch.cat([_blurred(channel, levels) for channel in image.split(1)])


def wavelet(image: Tensor, reference: Tensor, levels: int = LEVELS) -> Tensor:
    """Return the image's high frequencies on the reference's low ones: x - low(x) + low(reference), both [3, H, W]."""
    pairs = zip(image.split(1), reference.split(1), strict=True)
    return torch.cat([own - _blurred(own, levels) + _blurred(other, levels) for own, other in pairs])


def corrected(image: Tensor, low: Tensor, how: Colour) -> Tensor:
    """Correct the colours of a whole result, at once for all its tiles.

    Args:
        image: [3, factor h, factor w] in [-1, 1].
        low: the small image, [3, h, w] in [-1, 1]; enlarged bicubically.
        how: by which means.

    Returns:
        [3, factor h, factor w], clamped to [-1, 1].
    """
    if how == "none":
        return image.clamp(-1, 1)
    reference = (enlarged_low(low[None], image.shape[1] // low.shape[1])[0] + 1) / 2
    found = (image + 1) / 2
    if how in ("both", "adain"):
        found = adain(found, reference)
    if how in ("both", "wavelet"):
        found = wavelet(found, reference)
    return (2 * found - 1).clamp(-1, 1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    flat = x.flatten(1)
    return flat.mean(1)[:, None, None], (flat.var(1) + EPSILON).sqrt()[:, None, None]


def _blurred(channel: Tensor, levels: int) -> Tensor:
    weights = channel.new_tensor([1.0, 2.0, 1.0]) / 4
    x = channel[None]
    for level in range(levels):
        hole = 2**level
        for dim in (2, 3):
            shape = (1, 1, 3, 1) if dim == 2 else (1, 1, 1, 3)
            dilation = (hole, 1) if dim == 2 else (1, hole)
            pad = (0, 0, hole, hole) if dim == 2 else (hole, hole, 0, 0)
            x = F.conv2d(F.pad(x, pad, mode="replicate"), weights.view(shape), dilation=dilation)
    return x[0]
