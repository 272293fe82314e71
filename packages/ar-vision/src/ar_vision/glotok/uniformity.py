"""How evenly vectors are spread over directions, and codes over their uses (arXiv 2511.14184, table 3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor

from .histogram import tiles

__all__ = ["BANDWIDTH", "densities", "gini", "uniformity"]

BANDWIDTH = 0.5
"""Standard deviation of the Gaussian on the unit sphere, in chord length: exp(-2 |u_i - u_j|²)."""


@torch.no_grad()
def uniformity(vectors: Tensor, *, bandwidth: float = BANDWIDTH, tile: int = 512) -> dict[str, float]:
    """Measure how even the density of directions is at each of them, and how high it is.

    The paper gives the names of the first three numbers and no definition. Here a density is a Gaussian kernel estimate on the unit
    sphere, so that these numbers compare codebooks of one dimension with each other and not with the paper's table. They say
    nothing of spread: directions that are all alike are as even as can be. That is what ``log_density`` is for.

    Args:
        vectors: `[n, d]`, any length; only directions count. At least 2.
        bandwidth: of the kernel.
        tile: vectors on a side of the pieces in which pairs are gone through.

    Returns:
        ``density_cv``: standard deviation of the densities over their mean, 0 where they are even. ``entropy``: of the densities as
        shares, over log n; 1 where they are even. ``gini``: their Gini coefficient, 0 where they are even. ``log_density``: the logarithm
        of their mean, which is the uniformity of arXiv 2005.10242 (t = 2, pairs of a vector with itself included): 0 where all
        directions are alike, the lower the wider they are spread.

    Raises:
        DataError: fewer than two vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        raise DataError(
            f"vectors of shape {list(vectors.shape)} were given; uniformity needs [n, d] with n of at least 2"
        )
    found = densities(vectors, bandwidth=bandwidth, tile=tile)
    shares = found / found.sum()
    return {
        "density_cv": float(found.std(unbiased=False) / found.mean()),
        "entropy": float(torch.special.entr(shares).sum() / math.log(len(found))),
        "gini": gini(found),
        "log_density": float(found.mean().log()),
    }


def densities(vectors: Tensor, *, bandwidth: float, tile: int) -> Tensor:
    """Return, at each of the vectors `[n, d]`, the mean over all of exp(-|u_i - u_j|² / (2 bandwidth²)), float64 `[n]`."""
    units = F.normalize(vectors.double(), dim=-1)
    found = units.new_zeros(len(units))
    for rows, columns, cosines in tiles(units, tile):
        kernel = ((cosines - 1) / bandwidth**2).exp()
        found[rows] += kernel.sum(1)
        if rows != columns:
            found[columns] += kernel.sum(0)
    return found / len(units)


def gini(values: Tensor) -> float:
    """Return the Gini coefficient of values `[n]` of at least 0: 0 where all are equal, 1 - 1/n where one has all.

    Of the uses of codes it says how unevenly they are used. Of zeros alone it is 0.
    """
    ordered = values.double().sort().values
    total, count = ordered.sum(), len(ordered)
    if not total:
        return 0.0
    ranks = torch.arange(1, count + 1, dtype=torch.float64, device=ordered.device)
    return float((2 * (ranks * ordered).sum() / total - (count + 1)) / count)
