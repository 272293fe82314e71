"""Pictures of any size and mode, as users have them, to control maps of a base's size.

Source: ours.
"""

import numpy as np
import torch
from ar_core.config import expand_path
from ar_core.errors import DataError
from ar_core.pictures import WHITE
from torch import Tensor

from ..data.collections import open_pictures
from ..data.collections.pictures import SUFFIXES, Picture
from ..data.config import ImageDataConfig
from ..data.transforms import Transform
from .controls.config import HARD, ControlConfig
from .controls.extract import Extractor

__all__ = ["PictureMaps", "picture_maps"]

_BATCH = 64


class PictureMaps:
    """N maps, uint8 [N, 3, H, W]; the pictures they are of, the same or None; and the pictures' classes, int64 [N] or None."""

    def __init__(self, maps: Tensor, pictures: Tensor | None, labels: Tensor | None) -> None:
        self.maps, self.pictures, self.labels = maps, pictures, labels


def picture_maps(
    path: str, size: int, control: ControlConfig, extract: Extractor | None, *, count: int | None = None
) -> PictureMaps:
    """Read pictures or maps, cut the middle out at the base's size, and extract maps from pictures.

    Greyscale, palettes, transparency (on white), 16 bits and CMYK become RGB as all pictures here do (`read_picture`). Smaller pictures
    are enlarged. Edges are found after the crop, since they change with size.

    Args:
        path: a picture, a folder of pictures, or any data that `ar_vision.data` reads; ``~`` and ``$NAME`` are expanded.
        size: H = W.
        control: the kind; maps of canny and segments are resized by nearest pixels.
        extract: from pictures to maps; None: they are maps.
        count: the first so many; None: all.

    Raises:
        DataError: a picture cannot be read, or none is there; as `read_picture` says it.
    """
    where = expand_path(path)
    single = where.suffix.lower() in SUFFIXES
    if single:
        found, labels = [Picture(str(where), where)], None
    else:
        collection = open_pictures(ImageDataConfig(path=str(where)))
        total = len(collection) if count is None else min(count, len(collection))
        found = [collection[number] for number in range(total)]
        labels = None if collection.labels is None else torch.from_numpy(np.asarray(collection.labels[:total]))
    if not found:
        raise DataError(f"{path!r} holds no picture: give at least one")
    transform = Transform("adm_centre", (size, size), nearest=extract is None and control.kind in HARD)
    cut = torch.stack([transform(one.pixels(WHITE), one.place) for one in found])
    if extract is None:
        return PictureMaps(cut, None, labels)
    maps = torch.cat([extract(part) for part in cut.split(_BATCH)])
    return PictureMaps(maps.contiguous(), cut, labels)
