"""How a picture becomes the input of a vision tower. Imports no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from ar_core.config import require_positive
from ar_core.errors import ConfigError

__all__ = ["ImageConfig", "ImageFit"]

ImageFit = Literal["native", "square", "stretch", "anyres"]
"""How a picture is brought to the size of a tower; see `ImageConfig.fit`."""


@dataclass(frozen=True)
class ImageConfig:
    """The fit of pictures, in training; evaluation may choose another one.

    Raises:
        ConfigError: a value is out of range.
    """

    fit: ImageFit = "square"
    """``native``: the picture's own aspect ratio, sides rounded to whole tokens (Qwen-VL towers only; the published evaluation of
    route 1). ``square``: centred on a square canvas of the tower's mean colour first (published training of route 1). ``stretch``:
    resized to the tower's side, ratio lost (published route 2, stage 1). ``anyres``: the picture as a whole and as crops at the
    best of several resolutions (published route 2, stage 2)."""
    min_pixels: int = 147_456
    """Least pixels of a picture after resizing, for ``native`` and ``square`` on Qwen-VL towers. Published: 384²."""
    max_pixels: int = 262_144
    """Most pixels likewise. Published: 512²."""
    max_grid: int = 6
    """``anyres``: resolutions are side · (i, j) with i, j up to this. Published: 6."""
    max_tiles: int = 4
    """``anyres``: a crop grid of more tokens than so many crops have is scaled down to them. Published: 4 (`anyres_max_4`)."""
    max_images: int = 16
    """Most images of a sample or prompt; more are refused."""

    def __post_init__(self) -> None:
        require_positive(self, "min_pixels", "max_pixels", "max_grid", "max_tiles", "max_images")
        if self.fit not in get_args(ImageFit):
            raise ConfigError(f"fit is {self.fit!r}, but must be one of {', '.join(get_args(ImageFit))}")
        if self.min_pixels > self.max_pixels:
            raise ConfigError(
                f"min_pixels is {self.min_pixels} and max_pixels only {self.max_pixels}: lower the one or raise the other"
            )
