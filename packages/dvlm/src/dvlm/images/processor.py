"""Pictures to image inputs, one class a kind of tower."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from ar_core.errors import ConfigError
from torch import Tensor

from .anyres import anyres_map
from .canvas import background_of, on_canvas, resized, squared
from .config import ImageConfig
from .inputs import ImageInput, ImageLayout
from .smart_resize import check_ratio, smart_resize

__all__ = ["CLIP_MEAN", "CLIP_STD", "CropProcessor", "ImageProcessor", "PatchProcessor", "require_read"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Of each channel in [0, 1], as the towers of CLIP and of the Qwen-VL family were trained."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Likewise the deviation."""


class ImageProcessor(Protocol):
    """From a picture to what the model reads; a pure function of the picture."""

    @property
    def config(self) -> ImageConfig:
        """The fit of pictures."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """Names of the settings beside the fit that decide the size of a picture."""
        ...

    def __call__(self, pixels: np.ndarray, place: str = "the picture") -> ImageInput:
        """Process a picture uint8 [H, W, 3]; raises DataError, with `place`, where it cannot be used."""
        ...


@dataclass(frozen=True)
class PatchProcessor:
    """For towers of the Qwen-VL family: one image of any ratio as a sequence of patches.

    Patches are in the order of merged cells, row by row; inside a cell row by row; of a patch channel, time, y, x. A still image
    fills both time slots. Equal to transformers' PIL processor.

    Raises:
        ConfigError: the fit is one of crops.
    """

    config: ImageConfig
    """How pictures are fitted."""
    patch: int = 14
    """p, side of a patch in pixels."""
    merge: int = 2
    """Patches along the side of a token."""
    frames: int = 2
    """Time slots of a patch."""
    mean: Sequence[float] = CLIP_MEAN
    """What is taken away from each channel in [0, 1]."""
    std: Sequence[float] = CLIP_STD
    """What the channels are divided by."""

    def __post_init__(self) -> None:
        if self.config.fit not in ("native", "square"):
            raise ConfigError(
                f"the fit {self.config.fit!r} cuts crops for square towers, and this tower reads patches: choose native or square"
            )

    @property
    def reads(self) -> frozenset[str]:
        """The bounds of its pixels."""
        return frozenset({"min_pixels", "max_pixels"})

    def __call__(self, pixels: np.ndarray, place: str = "the picture") -> ImageInput:
        """Process a picture uint8 [H, W, 3].

        Raises:
            DataError: one side is more than 200 times the other.
        """
        check_ratio(*pixels.shape[:2], place=place)
        canvas = (max(pixels.shape[:2]),) * 2 if self.config.fit == "square" else pixels.shape[:2]
        height, width = smart_resize(
            *canvas,
            factor=self.patch * self.merge,
            min_pixels=self.config.min_pixels,
            max_pixels=self.config.max_pixels,
            place=place,
        )
        if self.config.fit == "square":
            shown = squared(pixels, height, width, background_of(self.mean))
        else:
            shown = resized(pixels, height, width)
        image = normalised(shown, self.mean, self.std)
        rows, columns, side = height // self.patch, width // self.patch, self.merge
        cells = image.view(3, rows // side, side, self.patch, columns // side, side, self.patch)
        patches = cells.permute(1, 4, 2, 5, 0, 3, 6)[:, :, :, :, :, None]
        patches = patches.expand(*patches.shape[:5], self.frames, *patches.shape[6:]).reshape(rows * columns, -1)
        grid = rows // side, columns // side
        layout = ImageLayout(grid[0] * grid[1], *grid, units=rows * columns, patches=(rows, columns))
        return ImageInput(patches, layout)


@dataclass(frozen=True)
class CropProcessor:
    """For towers with a square input: one crop, or with the fit ``anyres`` the whole picture and the crops of a grid.

    Raises:
        ConfigError: the fit is ``native``.
    """

    config: ImageConfig
    """How pictures are fitted."""
    side: int
    """S, side of the tower's input in pixels."""
    features: int
    """g, features along a side after pooling."""
    newline: bool = False
    """Whether rows of an any-resolution map end with a vector of their own."""
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    """What is taken away from each channel in [0, 1]."""
    std: Sequence[float] = (0.5, 0.5, 0.5)
    """What the channels are divided by."""

    def __post_init__(self) -> None:
        if self.config.fit == "native":
            raise ConfigError(
                f"the fit 'native' needs a tower that reads any ratio, and this one reads {self.side} x {self.side}: choose square, "
                "stretch or anyres"
            )

    @property
    def reads(self) -> frozenset[str]:
        """The bounds of its crops, if there are several."""
        return frozenset({"max_grid", "max_tiles"} if self.config.fit == "anyres" else ())

    def __call__(self, pixels: np.ndarray, place: str = "the picture") -> ImageInput:
        """Process a picture uint8 [H, W, 3].

        Raises:
            DataError: one side is more than 200 times the other.
        """
        config, side = self.config, self.side
        check_ratio(*pixels.shape[:2], place=place)
        if config.fit != "anyres":
            if config.fit == "square":
                whole = squared(pixels, side, side, background_of(self.mean))
            else:
                whole = resized(pixels, side, side)
            crop = normalised(whole, self.mean, self.std)
            layout = ImageLayout(self.features**2, self.features, self.features, units=1)
            return ImageInput(crop[None], layout)
        height, width = pixels.shape[:2]
        laid = anyres_map(
            height, width, side=side, features=self.features, max_grid=config.max_grid, max_tiles=config.max_tiles
        )
        canvas = fitted(pixels, laid.grid[0] * side, laid.grid[1] * side)
        crops = [resized(pixels, side, side)]
        for row in range(laid.grid[0]):
            for column in range(laid.grid[1]):
                crops.append(canvas[row * side : (row + 1) * side, column * side : (column + 1) * side])
        stacked = torch.stack([normalised(crop, self.mean, self.std) for crop in crops])
        tokens = self.features**2 + laid.size[0] * (laid.size[1] + self.newline)
        return ImageInput(stacked, ImageLayout(tokens, 0, 0, units=len(crops), map=laid))


def require_read(processor: ImageProcessor) -> None:
    """See that a run's settings of pictures have a use.

    Raises:
        ConfigError: one is given that the tower does not read with this fit.
    """
    for name in ("min_pixels", "max_pixels", "max_grid", "max_tiles"):
        value = getattr(processor.config, name)
        if value != getattr(ImageConfig, name) and name not in processor.reads:
            read = f"{' and '.join(sorted(processor.reads))} alone" if processor.reads else "pictures of one size"
            raise ConfigError(
                f"data.images.{name} is {value}, and with the fit {processor.config.fit!r} this tower reads {read}: drop it"
            )


def normalised(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [H, W, 3] as float32 [3, H, W], (x / 255 - mean) / std per channel."""
    image = torch.tensor(pixels).permute(2, 0, 1).float() / 255
    return ((image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]).contiguous()


def fitted(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with the ratio kept, as large as the size allows, and centre on black; sides are rounded up."""
    scale_width, scale_height = width / pixels.shape[1], height / pixels.shape[0]
    if scale_width < scale_height:
        inner = min(math.ceil(pixels.shape[0] * scale_width), height), width
    else:
        inner = height, min(math.ceil(pixels.shape[1] * scale_height), width)
    return on_canvas(resized(pixels, *inner), height, width, (0, 0, 0))
