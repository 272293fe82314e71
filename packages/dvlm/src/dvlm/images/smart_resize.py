"""The size that Qwen-VL towers give a picture, and the ratio that any may have."""

import math

from ar_core.errors import DataError

__all__ = ["MAX_RATIO", "check_ratio", "smart_resize"]

MAX_RATIO = 200
"""Largest ratio of a picture's sides."""


def check_ratio(height: int, width: int, *, place: str = "the picture") -> None:
    """See that a picture is no strip, of which no fit would leave anything to see.

    Args:
        height: in pixels, at least 1.
        width: likewise.
        place: what names the picture in messages.

    Raises:
        DataError: one side is more than 200 times the other.
    """
    if max(height, width) > MAX_RATIO * min(height, width):
        raise DataError(
            f"{place} is {height} x {width} pixels, and a side may be at most {MAX_RATIO} times the other: crop it"
        )


def smart_resize(
    height: int, width: int, *, factor: int = 28, min_pixels: int, max_pixels: int, place: str = "the picture"
) -> tuple[int, int]:
    """Sides that are multiples of `factor`, near the picture's own and with a number of pixels between the bounds.

    Each side is rounded to the nearest multiple (halves to even). If the area is too large, both sides are divided by sqrt(h w /
    max) and rounded down, to at least one multiple; if too small, multiplied by sqrt(min / (h w)) and rounded up. The bounds are
    therefore exceeded for extreme ratios: 33 x 4000 becomes 56 x 4228.

    Args:
        height: in pixels, at least 1.
        width: likewise.
        factor: pixels of a token's side: patch side times merge side.
        min_pixels: lower bound of the area.
        max_pixels: upper bound.
        place: what names the picture in messages.

    Raises:
        DataError: one side is more than 200 times the other.
    """
    check_ratio(height, width, place=place)
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        scale = math.sqrt(height * width / max_pixels)
        rows, columns = (max(1, math.floor(side / scale / factor)) for side in (height, width))
    elif rows * columns * factor**2 < min_pixels:
        scale = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(side * scale / factor) for side in (height, width))
    return rows * factor, columns * factor
