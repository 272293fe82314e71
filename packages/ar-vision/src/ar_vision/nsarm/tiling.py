"""Images of any size as tiles of the one size that a model takes, and their results as one image without seams.

Source: ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from ar_core.errors import ConfigError
from torch import Tensor

__all__ = ["Axis", "Canvas", "TilePlan", "default_overlap", "padded_to_tile", "tile_plan"]


@dataclass(frozen=True)
class Axis:
    """Tiles along one side: their first pixels, evenly spread, the last tile ending with the image.

    Attributes:
        length: of the image, at least a tile.
        tile: pixels of a tile along this side.
        starts: first pixel of each tile.
    """

    length: int
    tile: int
    starts: tuple[int, ...]

    @classmethod
    def over(cls, length: int, tile: int, overlap: int) -> "Axis":
        """Place as few tiles as overlap by at least ``overlap`` pixels."""
        length = max(length, tile)
        count = 1 if length == tile else -(-(length - overlap) // (tile - overlap))
        spread = (length - tile) / max(1, count - 1)
        return cls(length, tile, tuple(round(number * spread) for number in range(count)))

    def weights(self, factor: int) -> list[Tensor]:
        """Return what every tile counts at each of its pixels, float32 [tile factor], of an image ``factor`` times larger.

        From an inner edge on a tile's share rises over its overlap with its neighbour; shares of all tiles at a pixel have the sum 1.
        """
        size = self.tile * factor
        shares = []
        for number, start in enumerate(self.starts):
            share = torch.ones(size, dtype=torch.float64)
            if number:
                rise = (self.starts[number - 1] + self.tile - start) * factor
                share[:rise] = torch.minimum(share[:rise], _ramp(rise))
            if number + 1 < len(self.starts):
                fall = (start + self.tile - self.starts[number + 1]) * factor
                share[size - fall :] = torch.minimum(share[size - fall :], _ramp(fall).flip(0))
            shares.append(share)
        total = torch.zeros(self.length * factor, dtype=torch.float64)
        for start, share in zip(self.starts, shares):
            total[start * factor : start * factor + size] += share
        return [
            (share / total[start * factor : start * factor + size]).float() for start, share in zip(self.starts, shares)
        ]

    def edges(self, factor: int) -> list[int]:
        """Return where a tile begins or ends inside an image ``factor`` times larger: pixel e differs from e - 1 in its tiles."""
        inner = set(self.starts[1:]) | {start + self.tile for start in self.starts[:-1]}
        return sorted(edge * factor for edge in inner)

    def bands(self, factor: int) -> list[tuple[int, int]]:
        """Return where neighbours overlap in an image ``factor`` times larger: first pixel, and the one behind the last."""
        pairs = pairwise(self.starts)
        return [
            (after * factor, (before + self.tile) * factor) for before, after in pairs if before + self.tile > after
        ]


@dataclass(frozen=True)
class TilePlan:
    """Tiles of an image, row after row.

    Attributes:
        rows: tiles along the height.
        columns: tiles along the width.
    """

    rows: Axis
    columns: Axis

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def overlap(self) -> int:
        """Least overlap of neighbours in pixels of the small image; the tile's side where there is one tile."""
        gaps = [after - before for axis in (self.rows, self.columns) for before, after in pairwise(axis.starts)]
        return self.rows.tile - max(gaps, default=0)

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, row of tiles and column of tiles."""
        for number, (row, column) in enumerate(product(range(len(self.rows.starts)), range(len(self.columns.starts)))):
            yield number, row, column

    def cut(self, image: Tensor, row: int, column: int) -> Tensor:
        """Return a tile [3, tile, tile] of an image that is at least a tile large on both sides."""
        top, left, tile = self.rows.starts[row], self.columns.starts[column], self.rows.tile
        return image[:, top : top + tile, left : left + tile]


class Canvas:
    """The large image, to which results of tiles are added with their shares.

    Args:
        plan: of the small image.
        factor: how many times it is larger.
    """

    def __init__(self, plan: TilePlan, factor: int) -> None:
        self.plan, self.factor = plan, factor
        self._rows, self._columns = plan.rows.weights(factor), plan.columns.weights(factor)
        self.image = torch.zeros(3, plan.rows.length * factor, plan.columns.length * factor)

    def add(self, result: Tensor, row: int, column: int) -> None:
        """Add the result of a tile, [3, factor tile, factor tile]."""
        top, left = self.plan.rows.starts[row] * self.factor, self.plan.columns.starts[column] * self.factor
        height, width = result.shape[1:]
        share = self._rows[row][:, None] * self._columns[column][None]
        self.image[:, top : top + height, left : left + width] += result.float().cpu() * share


def tile_plan(height: int, width: int, tile: int, overlap: int) -> TilePlan:
    """Return the tiles of an image.

    Raises:
        ConfigError: the overlap is negative, or more than half a tile.
    """
    if not 0 <= overlap <= tile // 2:
        raise ConfigError(f"overlap is {overlap} and a tile has {tile} pixels a side: give 0 to {tile // 2}")
    return TilePlan(Axis.over(height, tile, overlap), Axis.over(width, tile, overlap))


def default_overlap(tile: int) -> int:
    """A quarter of a tile: 64 of 256."""
    return tile // 4


def padded_to_tile(image: Tensor, tile: int) -> Tensor:
    """Return an image [3, h, w] whose sides are at least a tile: mirrored beyond its right and lower ends, again and again if needed."""
    low = [(0, 0), *((0, max(0, tile - side)) for side in image.shape[1:])]
    if not any(behind for _, behind in low):
        return image
    return torch.from_numpy(np.pad(image.numpy(), low, mode="symmetric"))


def _ramp(length: int) -> Tensor:
    return (torch.arange(length, dtype=torch.float64) + 0.5) / length
