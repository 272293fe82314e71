"""The augmentations of a control map that go with those of its picture.

Source: ours.
"""

import numpy as np
import torch
from ar_core.errors import DataError
from PIL import Image
from torch import Tensor

from ...data.transforms import Transform, View, views
from .config import HARD, ControlKind
from .normals import mirrored

__all__ = ["map_views"]


def map_views(
    pixels: np.ndarray,
    picture: tuple[int, int],
    kind: ControlKind,
    transform: Transform,
    view: View,
    place: str,
    crop_scales: tuple[float, ...] = (1.1,),
) -> Tensor:
    """Return the views of a map: the same boxes and flips as those of its picture.

    A map of another size is brought to that of its picture first, then both go through one transform. Canny and segmentation are resized by
    nearest pixels, and mirrored normals have x negated.

    Args:
        pixels: the map, uint8 [h, w, 3].
        picture: (h, w) of its picture.
        kind: of control.
        transform: of the pictures.
        view: which augmentations.
        place: what names the map in messages.
        crop_scales: as `views` takes it.

    Returns:
        uint8 [A, 3, H, W].

    Raises:
        DataError: as `views` does; or the map is more than twice as wide or high, for its other side, as the picture.
    """
    hard = kind in HARD
    if pixels.shape[:2] != picture:
        stretch = (pixels.shape[1] / pixels.shape[0]) / (picture[1] / picture[0])
        if not 0.5 <= stretch <= 2:
            raise DataError(
                f"{place} is {pixels.shape[1]} pixels wide and {pixels.shape[0]} high and its picture {picture[1]} and {picture[0]}: they are "
                "not of one scene, pair maps and pictures by their names"
            )
        how = Image.Resampling.NEAREST if hard else Image.Resampling.BICUBIC
        pixels = np.asarray(Image.fromarray(pixels).resize((picture[1], picture[0]), how))
    kept = Transform(transform.name, transform.size, False, transform.shortest, nearest=hard)
    made = views(pixels, kept, view, place, crop_scales)
    if kind != "normal":
        return made
    # What `views` has mirrored, mirrored back, and then as normals are.
    turned = mirrored(made.flip(-1), normal=True)
    half = torch.tensor([_is_mirrored(view, number) for number in range(len(made))])
    return torch.where(half[:, None, None, None], turned, made)


def _is_mirrored(view: View, number: int) -> bool:
    return number % 2 == 1 if view == "flip" else view == "ten_crop" and number % 10 >= 5
