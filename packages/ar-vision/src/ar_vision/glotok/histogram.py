"""The soft histogram of all pairwise cosines of a set of vectors, piece by piece (arXiv 2511.14184, equations 4 and 5).

Letters: n vectors, d their dimension, N bins with centres B_k, M cells far narrower than a bin, D the similarities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor

from .histogram_config import HistogramConfig

__all__ = [
    "EXACT_UP_TO",
    "Evaluation",
    "centres",
    "fine_cells",
    "is_exact",
    "log_histogram",
    "log_kernel",
    "log_profile",
    "tiles",
]

Evaluation: TypeAlias = Literal["auto", "exact", "fine"]
"""Whether every pair meets every bin, pairs are counted in fine cells first, or the number of vectors decides."""

EXACT_UP_TO = 2048
"""Vectors up to which "auto" lets every pair meet every bin."""
FINEST = 4096
"""Fewest cells: 100 to a bin of 40."""


def centres(config: HistogramConfig, device: torch.device | str = "cpu") -> Tensor:
    """Return B_k = -1 + 2k / (N - 1), float64 `[N]`."""
    return torch.linspace(-1, 1, config.bins, dtype=torch.float64, device=device)


def fine_cells(config: HistogramConfig, device: torch.device | str = "cpu") -> Tensor:
    """Return the places of the cells, float64 `[M]`: never farther apart than 1/32 of the kernel's width 1 / sqrt(alpha)."""
    count = max(FINEST, math.ceil(64 * math.sqrt(config.sharpness))) + 1
    return torch.linspace(-1, 1, count, dtype=torch.float64, device=device)


def is_exact(evaluation: Evaluation, count: int) -> bool:
    """Whether every pair of so many vectors meets every bin."""
    return count <= EXACT_UP_TO if evaluation == "auto" else evaluation == "exact"


def tiles(units: Tensor, size: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Go through the pairs i <= j in pieces: the cosines of neighbouring vectors with neighbouring vectors.

    Args:
        units: `[n, d]` of unit length.
        size: most vectors on a side of a piece.

    Yields:
        The vectors of its rows and of its columns, and the cosines, in [-1, 1] but for rounding. Where rows and columns are the
        same vectors, the caller keeps the upper triangle.
    """
    starts = range(0, len(units), size)
    for row in starts:
        for column in starts[row // size :]:
            rows, columns = slice(row, row + size), slice(column, column + size)
            yield rows, columns, units[rows] @ units[columns].T


def upper(cosines: Tensor, *, include_self: bool) -> Tensor:
    """Return which pairs of a piece on the diagonal count: bool, its upper triangle with or without the diagonal."""
    return torch.ones_like(cosines, dtype=torch.bool).triu(0 if include_self else 1)


def log_kernel(places: Tensor, middle: Tensor, sharpness: float) -> Tensor:
    """Return -alpha (x - B_k)² of places `[...]` and a middle each of N bins, `[N]`: `[..., N]`."""
    return -sharpness * (places[..., None] - middle).square()


@torch.no_grad()
def log_histogram(
    vectors: Tensor, config: HistogramConfig, *, evaluation: Evaluation = "auto", tile: int = 256
) -> Tensor:
    """Return log h_k, h_k = sum over pairs i <= j of exp(-alpha (cos(v_i, v_j) - B_k)²).

    Sums are taken of logarithms, so that a bin that no pair is near has a finite value. Memory is that of a piece; no tensor of
    all pairs is held.

    Args:
        vectors: `[n, d]`, any float dtype and any length; compared in float32 or better. A vector of zeros has the cosine 0 with all.
        config: bins.
        evaluation: how; see `GlotokConfig.evaluation`. Fine cells take a pair to its two neighbours linearly, and the kernel is
            corrected for what that widens it by: histograms agree with exact ones to 1e-6.
        tile: vectors on a side of a piece.

    Returns:
        float64 `[N]`.

    Raises:
        DataError: there are too few vectors for a pair, or a number is none.
    """
    least = 1 if config.include_self else 2
    if vectors.ndim != 2 or len(vectors) < least:
        raise DataError(
            f"vectors of shape {list(vectors.shape)} were given; a histogram needs [n, d] with at least {least} vectors"
        )
    if not bool(vectors.isfinite().all()):
        raise DataError("a vector has numbers that are not finite: whatever made it has diverged or is damaged")
    units = F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1)
    if is_exact(evaluation, len(units)):
        return _exact(units, config, tile)
    return _through_cells(units, config, tile)


def log_profile(log_h: Tensor) -> Tensor:
    """Return log P_k = log h_k - log sum h, `[N]`."""
    return log_h - log_h.logsumexp(-1)


def _exact(units: Tensor, config: HistogramConfig, tile: int) -> Tensor:
    middle = centres(config, units.device)
    total = torch.full_like(middle, -math.inf)
    for rows, columns, cosines in tiles(units, tile):
        kept = cosines[upper(cosines, include_self=config.include_self)] if rows == columns else cosines.flatten()
        if len(kept):
            found = log_kernel(kept.double(), middle, config.sharpness).logsumexp(0)
            total = torch.logaddexp(total, found)
    return total


def _through_cells(units: Tensor, config: HistogramConfig, tile: int) -> Tensor:
    cells = fine_cells(config, units.device)
    counts = torch.zeros_like(cells)
    for rows, columns, cosines in tiles(units, tile):
        kept = cosines[upper(cosines, include_self=config.include_self)] if rows == columns else cosines.flatten()
        place, share = cell_of(kept, len(cells))
        counts += torch.bincount(place, weights=1 - share, minlength=len(cells))
        counts += torch.bincount(place + 1, weights=share, minlength=len(cells))
    width = cells[1] - cells[0]
    middle = centres(config, units.device)
    kernel = log_kernel(cells, middle, config.sharpness)
    # A pair between two cells is spread over both: on average that adds width² / 12 times the second derivative.
    second = 2 * config.sharpness * (2 * config.sharpness * (cells[:, None] - middle).square() - 1)
    corrected = kernel + (1 - width**2 / 12 * second).clamp(min=0.5).log()
    return (counts.log()[:, None] + corrected).logsumexp(0)


def cell_of(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return of each cosine the cell below it, int64, and its share of the way to the next, float64."""
    along = (cosines.double().clamp(-1, 1) + 1) * ((count - 1) / 2)
    place = along.floor().clamp(max=count - 2)
    return place.long(), along - place
