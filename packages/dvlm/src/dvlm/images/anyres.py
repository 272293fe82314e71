"""Any-resolution layout (LLaVA-NeXT, as in DiffusionVL route 2): which crops a picture is cut into, and how their features join.

Pure arithmetic over numbers of crops and features; a picture of height H and width W.
"""

from dataclasses import dataclass

__all__ = ["AnyresMap", "anyres_map", "best_resolution", "candidates"]


def candidates(side: int, max_grid: int) -> list[tuple[int, int]]:
    """All resolutions (height, width) of whole crops: side · i by side · j, i and j from 1; narrow ones first."""
    return [(side * rows, side * columns) for columns in range(1, max_grid + 1) for rows in range(1, max_grid + 1)]


def best_resolution(height: int, width: int, resolutions: list[tuple[int, int]]) -> tuple[int, int]:
    """The resolution that keeps most of the picture's pixels, and of those that keep as many the one that wastes fewest.

    The picture is fitted into each with its ratio kept; effective pixels are those of the fitted picture, but not more than it
    has. Of equals the first in order of (width, height) wins.
    """
    best: tuple[int, int] | None = None
    most = least = 0
    for rows, columns in resolutions:
        scale = min(columns / width, rows / height)
        fitted = int(width * scale) * int(height * scale)
        effective = min(fitted, width * height)
        wasted = rows * columns - effective
        if best is None or effective > most or (effective == most and wasted < least):
            best, most, least = (rows, columns), effective, wasted
    assert best is not None
    return best


@dataclass(frozen=True)
class AnyresMap:
    """What becomes of the joined features of the crops, [rows · g, columns · g] of them."""

    grid: tuple[int, int]
    """Crops (rows, columns); the whole picture, squeezed, is one more before them."""
    margin: tuple[int, int]
    """Feature rows and columns that are cut off at either side, because they show the canvas."""
    kept: tuple[int, int]
    """Feature rows and columns that are left."""
    size: tuple[int, int]
    """Feature rows and columns after bilinear scaling; equal to `kept` where they were few enough."""


def anyres_map(height: int, width: int, *, side: int, features: int, max_grid: int, max_tiles: int | None) -> AnyresMap:
    """Lay out a picture.

    Args:
        height: H.
        width: W.
        side: of a crop in pixels.
        features: g, features along a crop's side.
        max_grid: most crops along a side.
        max_tiles: scale maps of more than max_tiles · g² · 1.1² features down to about max_tiles · g²; None never scales.
    """
    rows, columns = (part // side for part in best_resolution(height, width, candidates(side, max_grid)))
    full_rows, full_columns = rows * features, columns * features
    kept_rows, kept_columns, top, left = full_rows, full_columns, 0, 0
    # The side that the fitted picture does not fill, judged by the ratios of the picture and of the map.
    if width / height > full_columns / full_rows:
        top = (full_rows - int(height * (full_columns / width))) // 2
        kept_rows = full_rows - 2 * top
    else:
        left = (full_columns - int(width * (full_rows / height))) // 2
        kept_columns = full_columns - 2 * left
    size = (kept_rows, kept_columns)
    if max_tiles is not None:
        scale = (kept_rows * kept_columns / (max_tiles * features**2)) ** 0.5
        if scale > 1.1:
            size = (int(kept_rows // scale), int(kept_columns // scale))
    return AnyresMap((rows, columns), (top, left), (kept_rows, kept_columns), size)
