"""An image as the model reads it: pixels, and how its features become tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .anyres import AnyresMap

__all__ = ["ImageInput", "ImageLayout", "join_pixels"]


@dataclass(frozen=True)
class ImageLayout:
    """How the features of one image become tokens; plain numbers, so that lengths are known before a model runs."""

    tokens: int
    """Positions that the image takes in the language model."""
    rows: int
    """Rows of the token grid, for three-part positions; 0 where tokens are no single grid."""
    columns: int
    """Columns likewise; rows · columns = tokens where not 0."""
    units: int
    """Entries of the pixel tensor: patches of a Qwen-VL tower, crops of others."""
    patches: tuple[int, int] = (0, 0)
    """Qwen-VL towers: patch rows and columns."""
    map: AnyresMap | None = None
    """Any-resolution pictures: what becomes of the crops' features."""


@dataclass(frozen=True)
class ImageInput:
    """One image."""

    pixels: Tensor
    """Float32: patches [units, 3 · time · p · p], or crops [units, 3, S, S]; normalised."""
    layout: ImageLayout
    """How its features become tokens."""


def join_pixels(images: Sequence[ImageInput]) -> Tensor:
    """The pixels of several images, at least one, one after another along the first dimension: `[patches, values]` or `[crops, 3, S, S]`."""
    return torch.cat([image.pixels for image in images])
