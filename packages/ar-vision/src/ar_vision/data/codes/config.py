"""Settings of stored codes. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.config import FREE, require_positive, require_share
from ar_core.errors import ConfigError

__all__ = ["CodeDataConfig", "ImageCodesConfig"]


@dataclass(frozen=True)
class ImageCodesConfig:
    """How pictures become codes; the tokenizer and the data have their own sections.

    Raises:
        ConfigError: a value is out of range.
    """

    scales: tuple[int | tuple[int, int], ...] | None = None
    """Sides of the grids (or heights and widths), coarse to fine; null is the one grid of the tokenizer, as LlamaGen uses it. VAR at
    256 px: 1, 2, 3, 4, 5, 6, 8, 10, 13, 16."""
    views: Literal["one", "flip", "ten_crop"] = "flip"
    """Augmentations of each picture, of which training takes one at random. ``one``: the crop in the middle. ``flip``: it and its
    mirror image. ``ten_crop``: corners and centre of a slightly larger image, and their mirror images (LlamaGen)."""
    crop_scales: tuple[float, ...] = (1.1,)
    """``ten_crop``: sides of the image that is cropped, in sides of the result; ten views of each. LlamaGen: 1.1, then 1.05."""
    batch_size: int = field(default=64, metadata=FREE)
    """Images encoded at a time; memory and speed only."""

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        if not self.crop_scales or min(self.crop_scales) < 1:
            raise ConfigError(f"crop_scales is {list(self.crop_scales)}, but holds numbers of at least 1: correct it")
        if self.views != "ten_crop" and self.crop_scales != (1.1,):
            raise ConfigError(
                f"crop_scales is {list(self.crop_scales)}, which only the views ten_crop use: leave it out"
            )


@dataclass(frozen=True)
class CodeDataConfig:
    """Where stored codes lie, and which of them a run takes.

    Raises:
        ConfigError: a value is out of range.
    """

    path: str
    """Folder that the recipe `image_codes` filled, or the root of LlamaGen's published layout (`*_codes` beside `*_labels`)."""
    held_out: float = 0.0
    """Share of the pictures that is never trained on, in [0, 1): decided by a hash of the decoded pixels, so that the same pictures
    are held out here and where the pictures themselves are read. (In the published layout, by a hash of the codes.)"""
    count: int | None = None
    """Take only the first `count` pictures."""

    def __post_init__(self) -> None:
        require_share(self, "held_out")
        require_positive(self, "count")
