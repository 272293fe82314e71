"""Pictures on canvases: centred on a square, or inside a given size."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

__all__ = ["background_of", "on_canvas", "resized", "squared"]

AT_ONCE = 1 << 22
"""Pixels of a square canvas that are held at a time."""


def background_of(mean: Sequence[float]) -> tuple[int, int, int]:
    """The canvas colour of a tower: its mean per channel in [0, 1] as whole numbers of 0 to 255, rounded down."""
    red, green, blue = (int(255 * part) for part in mean)
    return red, green, blue


def on_canvas(pixels: np.ndarray, height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Centre a picture uint8 [h, w, 3] on a canvas [height, width, 3] at least as large; odd margins are smaller first."""
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    canvas[:] = colour
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def squared(pixels: np.ndarray, height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Centre a picture uint8 [h, w, 3] on a square canvas of its longer side, and resize that to [height, width, 3] by :func:`resized`.

    The canvas is never held as a whole: that of a long picture has many times its pixels.
    """
    side = max(pixels.shape[:2])
    # As Pillow does it: first along rows, rounded to whole numbers, then along columns.
    narrow = np.empty((side, width, 3), dtype=np.uint8)
    narrow[:] = colour
    top, rows = (side - pixels.shape[0]) // 2, max(1, AT_ONCE // side)
    for first in range(0, pixels.shape[0], rows):
        band = pixels[first : first + rows]
        narrow[top + first : top + first + len(band)] = resized(
            on_canvas(band, len(band), side, colour), len(band), width
        )
    return resized(narrow, height, width)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture uint8 [h, w, 3] by Pillow's bicubic filter, which averages when it shrinks."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
