"""Distances between many vectors, a tile at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["TILE", "distance_tiles", "kth_distances", "squared_distances"]

TILE = 1024
"""Rows of a tile: no N x M matrix exists at any time."""


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|² as float64 [N, M].

    The norms are expanded, which is fast and loses only what float64 has to spare: vectors of float32 are equal or differ by
    more than the rounding error, for all that matters here.

    Args:
        a: [N, D].
        b: [M, D].
    """
    a, b = a.double(), b.double()
    products = torch.addmm(b.square().sum(1)[None], a, b.T, alpha=-2)
    return (products + a.square().sum(1)[:, None]).clamp_(min=0)


def distance_tiles(a: Tensor, b: Tensor, tile: int = TILE) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield (rows of a, rows of b, their squared distances), row of tiles after row of tiles.

    Args:
        a: [N, D].
        b: [M, D].
        tile: most rows of either side.

    Yields:
        Two slices and float64 [n, m] of them.
    """
    for top in range(0, len(a), tile):
        for left in range(0, len(b), tile):
            rows, columns = slice(top, min(top + tile, len(a))), slice(left, min(left + tile, len(b)))
            yield rows, columns, squared_distances(a[rows], b[columns])


def kth_distances(vectors: Tensor, k: int, tile: int = TILE) -> Tensor:
    """Squared distance of each vector to its k-th nearest other one, float64 [N].

    Args:
        vectors: [N, D], N > k.
        k: 1 is the nearest other one.
        tile: rows of a tile.
    """
    nearest = torch.full((len(vectors), k), torch.inf, dtype=torch.float64)
    for rows, columns, found in distance_tiles(vectors, vectors, tile):
        if rows == columns:
            found.fill_diagonal_(torch.inf)
        both = torch.cat([nearest[rows], found], dim=1)
        nearest[rows] = both.topk(k, largest=False).values
    return nearest.amax(1)
