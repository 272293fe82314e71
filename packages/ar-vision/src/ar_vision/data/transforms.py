"""From pictures of any size to training images of one size: each published recipe under its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.pictures import MAX_PIXELS
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

__all__ = ["TRANSFORMS", "Transform", "TransformName", "View", "to_tensor", "views"]

TransformName = Literal["none", "var", "adm_random", "adm_centre", "infinity"]
"""One of :data:`TRANSFORMS`."""
View = Literal["one", "flip", "ten_crop"]
"""How many augmentations of a picture are encoded: it, it and its mirror image, or ten crops."""
Draw = Callable[[int], int] | None
"""Draws from ``range(n)``; None takes what an evaluation takes."""


@dataclass(frozen=True)
class Transform:
    """Resize and crop to (H, W), then flip.

    Attributes:
        name: how, see :data:`TRANSFORMS`.
        size: (H, W); only ``none`` and ``infinity`` take other than squares.
        flip: mirror half of the training images.
        shortest: ``adm_random`` only: least share of the shorter side that a crop takes.
        nearest: take the nearest pixel wherever a picture is resized, for maps whose values must not be mixed; sizes and crops are
            those of the pictures.
    """

    name: TransformName
    size: tuple[int, int]
    flip: bool = False
    shortest: float = 0.88
    nearest: bool = False

    def __call__(self, picture: np.ndarray, place: str, rng: SampleRng | None = None, index: int = 0) -> Tensor:
        """Transform a picture.

        Args:
            picture: uint8 [h, w, 3].
            place: what names it in messages.
            rng: of the run; None takes the crop in the middle and does not flip, for evaluation.
            index: number of the sample, to which the draws belong (streams ``crop`` and ``flip``).

        Returns:
            uint8 [3, H, W].

        Raises:
            DataError: the transform is ``none`` and the picture has another size, or it is so long and thin that, enlarged to
                it, it would have more pixels than a picture may have.
        """
        draw: Draw = None
        if rng is not None and self.name in ("var", "adm_random"):
            generator = rng.row(index, "crop")

            def draw(stop: int) -> int:
                return int(torch.randint(stop, (), generator=generator))

        if self.name != "none":
            _require_room(picture, self.size, place)
        pixels = TRANSFORMS[self.name](picture, self, place, draw)
        if rng is not None and self.flip and rng.key(index, "flip") & 1:
            pixels = pixels[:, ::-1]
        return to_tensor(pixels)

    def by(self, how: Resampling) -> Resampling:
        """Return how pictures are resized where the recipe says ``how``."""
        return Resampling.NEAREST if self.nearest else how


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Copy uint8 [H, W, 3] to uint8 [3, H, W]."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def views(
    picture: np.ndarray, transform: Transform, view: View, place: str, crop_scales: tuple[float, ...] = (1.1,)
) -> Tensor:
    """The fixed augmentations of a picture that codes are made of beforehand (LlamaGen, arXiv 2406.06525).

    ``one``: the evaluation crop. ``flip``: it and its mirror image. ``ten_crop``: from the ADM centre crop of side
    ``int(side * scale)``, the corners (top left, top right, bottom left, bottom right) and the centre, then the same of the
    mirror image; for each scale.

    Returns:
        uint8 [A, 3, H, W], A = 1, 2 or 10 a scale.
    """
    if view == "ten_crop":
        _require_room(picture, transform.size, place)
        return torch.cat([_ten_crop(picture, transform.size, scale, transform.nearest) for scale in crop_scales])
    image = transform(picture, place)[None]
    return image if view == "one" else torch.cat([image, image.flip(3)])


def _require_room(picture: np.ndarray, size: tuple[int, int], place: str) -> None:
    height, width = picture.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    if scale > 1 and height * width * scale**2 > MAX_PIXELS:
        raise DataError(
            f"{place} is {width} pixels wide and {height} high, too long and thin to be enlarged to {size[1]} x {size[0]}: remove it "
            "from the data"
        )


def _none(picture: np.ndarray, transform: Transform, place: str, draw: Draw) -> np.ndarray:
    if picture.shape[:2] != transform.size:
        raise DataError(
            f"{place} is {picture.shape[1]} pixels wide and {picture.shape[0]} high, and {transform.size[1]} x "
            f"{transform.size[0]} are asked for: set a transform that resizes (var, adm_centre, infinity), or data.size"
        )
    return picture


def _var(picture: np.ndarray, transform: Transform, place: str, draw: Draw) -> np.ndarray:
    height, width = picture.shape[:2]
    short = round(1.125 * transform.size[0])
    # The longer side is cut off to whole pixels, as torchvision's Resize does.
    size = (int(short * height / width), short) if width <= height else (short, int(short * width / height))
    return _crop(_resize(picture, size, transform.by(Resampling.LANCZOS)), transform.size, draw)


def _adm_centre(picture: np.ndarray, transform: Transform, place: str, draw: Draw) -> np.ndarray:
    return _adm_crop(picture, transform.size[0], transform.nearest)


def _adm_crop(picture: np.ndarray, side: int, nearest: bool) -> np.ndarray:
    scaled = _adm_resize(picture, side, nearest)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return scaled[top : top + side, left : left + side]


def _adm_random(picture: np.ndarray, transform: Transform, place: str, draw: Draw) -> np.ndarray:
    if draw is None:
        return _adm_centre(picture, transform, place, draw)
    side = transform.size[0]
    return _crop(
        _adm_resize(picture, side + draw(math.ceil(side / transform.shortest) + 1 - side), transform.nearest),
        transform.size,
        draw,
    )


def _adm_resize(picture: np.ndarray, short: int, nearest: bool) -> np.ndarray:
    """Bring the shorter side to ``short``: halved by averaging while that leaves enough, then bicubic; or all by nearest pixels."""
    box, bicubic = (Resampling.NEAREST,) * 2 if nearest else (Resampling.BOX, Resampling.BICUBIC)
    while min(picture.shape[:2]) >= 2 * short:
        picture = _resize(picture, (picture.shape[0] // 2, picture.shape[1] // 2), box)
    scale = short / min(picture.shape[:2])
    return _resize(picture, (round(picture.shape[0] * scale), round(picture.shape[1] * scale)), bicubic)


def _infinity(picture: np.ndarray, transform: Transform, place: str, draw: Draw) -> np.ndarray:
    (height, width), (rows, columns) = picture.shape[:2], transform.size
    if width / height <= columns / rows:
        size = (max(int(columns / (width / height)), rows), columns)
    else:
        size = (rows, max(int(width / height * rows), columns))
    scaled = _resize(picture, size, transform.by(Resampling.LANCZOS))
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    return scaled[top : top + rows, left : left + columns]


def _ten_crop(picture: np.ndarray, size: tuple[int, int], scale: float, nearest: bool) -> Tensor:
    source = _adm_crop(picture, int(size[0] * scale), nearest)
    crops = []
    for mirrored in (source, source[:, ::-1]):
        low, right = mirrored.shape[0] - size[0], mirrored.shape[1] - size[1]
        middle = (round(low / 2), round(right / 2))
        for top, left in ((0, 0), (0, right), (low, 0), (low, right), middle):
            crops.append(to_tensor(mirrored[top : top + size[0], left : left + size[1]]))
    return torch.stack(crops)


def _resize(picture: np.ndarray, size: tuple[int, int], how: Resampling) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), how))


def _crop(picture: np.ndarray, size: tuple[int, int], draw: Draw) -> np.ndarray:
    """Cut (H, W) out at a drawn place, or in the middle, rounded to even as torchvision's CenterCrop does."""
    room = (picture.shape[0] - size[0], picture.shape[1] - size[1])
    top, left = (round(space / 2) if draw is None else draw(space + 1) for space in room)
    return picture[top : top + size[0], left : left + size[1]]


TRANSFORMS: dict[TransformName, Callable[[np.ndarray, Transform, str, Draw], np.ndarray]] = {
    "none": _none,
    "var": _var,
    "adm_random": _adm_random,
    "adm_centre": _adm_centre,
    "infinity": _infinity,
}
"""``none``: the pictures have the size already. ``var`` (VAR, arXiv 2404.02905, utils/data.py): the shorter side to
round(1.125 side) with Lanczos, then a random crop; the middle for evaluation. ``adm_random`` (guided-diffusion; FlexVAR with
0.88 to 1): the shorter side to a random length between side and side / 0.88, then a random crop; ``adm_centre`` for evaluation.
``adm_centre``: the shorter side to side, the middle. ``infinity`` (arXiv 2412.04431): cover (H, W) with Lanczos, the middle."""
