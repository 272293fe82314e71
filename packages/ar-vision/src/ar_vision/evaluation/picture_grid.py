"""Many images in one picture, with a word above each."""

from collections.abc import Sequence

from ar_core.command_result import PictureSheet
from ar_core.errors import ConfigError
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["enlarged", "picture_grid", "picture_sheet"]

GAP = 4
LEGIBLE = 96
"""Pixels of a side below which whole multiples of the image are shown."""


def picture_grid(
    images: Sequence[Tensor], columns: int, captions: Sequence[str] | None = None, *, enlarge: int | None = None
) -> Image.Image:
    """Place images row by row on white.

    Args:
        images: uint8 [3, H, W] of one size.
        columns: images of a row.
        captions: a word above each, cut off where it is wider than its image.
        enlarge: every pixel becomes a square of so many; None takes the least that brings the shorter side to 96.

    Raises:
        ConfigError: there is no image, or no column.
    """
    if not images or columns < 1:
        raise ConfigError(
            f"a grid of {len(images)} images in {columns} columns was asked for: give at least one of each"
        )
    height, width = images[0].shape[1:]
    factor = enlarge or max(1, -(-LEGIBLE // min(height, width)))
    height, width = height * factor, width * factor
    font = ImageFont.load_default()
    above = sum(font.getmetrics()) if captions is not None and isinstance(font, ImageFont.FreeTypeFont) else 0
    above = above or (12 if captions is not None else 0)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + GAP) + GAP, rows * (height + above + GAP) + GAP), color=(255, 255, 255)
    )
    for number, image in enumerate(images):
        left, top = GAP + number % columns * (width + GAP), GAP + number // columns * (height + above + GAP)
        if captions is not None:
            word = Image.new("RGB", (width, above), color=(255, 255, 255))
            ImageDraw.Draw(word).text((0, 0), captions[number], fill=(0, 0, 0), font=font)
            sheet.paste(word, (left, top))
        sheet.paste(enlarged(image, factor), (left, top + above))
    return sheet


def picture_sheet(
    images: Sequence[Tensor], columns: int, captions: Sequence[str], *, enlarge: int | None = None
) -> PictureSheet:
    """Place images as :func:`picture_grid` does, and keep them beside it for terminals and notebooks.

    Args:
        images, columns, enlarge: see `picture_grid`.
        captions: a word above each.
    """
    sheet = picture_grid(images, columns, captions, enlarge=enlarge)
    return PictureSheet([enlarged(image) for image in images], list(captions), columns, sheet)


def enlarged(image: Tensor, factor: int = 1) -> Image.Image:
    """Return an image uint8 [3, H, W] as a picture, every pixel a square of ``factor`` pixels."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
