"""Improved precision and recall (arXiv 1904.06991)."""

from dataclasses import dataclass

import torch
from ar_core.errors import DataError
from torch import Tensor

from .distances import TILE, distance_tiles, kth_distances

__all__ = ["PrecisionRecall", "precision_recall"]


@dataclass(frozen=True)
class PrecisionRecall:
    """Both in [0, 1]."""

    precision: float
    """Share of the samples that lie on the manifold of the reference."""
    recall: float
    """Share of the reference that lies on the manifold of the samples."""


def precision_recall(samples: Tensor, reference: Tensor, k: int = 3, tile: int = TILE) -> PrecisionRecall:
    """A manifold is the union of balls around its vectors, each reaching to its k-th nearest other vector, border included.

    Args:
        samples: features [N, D].
        reference: features [M, D]; N and M of one size are comparable with published numbers.
        k: published: 3.
        tile: rows of a tile of distances.

    Raises:
        DataError: a set has no k + 1 vectors.
    """
    for vectors, role in ((samples, "sample"), (reference, "reference")):
        if len(vectors) <= k:
            raise DataError(
                f"precision and recall with {k} neighbours need more than {k} {role} images and have {len(vectors)}: give more"
            )
    reach_of_samples, reach_of_reference = kth_distances(samples, k, tile), kth_distances(reference, k, tile)
    good = torch.zeros(len(samples), dtype=torch.bool)
    covered = torch.zeros(len(reference), dtype=torch.bool)
    for rows, columns, found in distance_tiles(samples, reference, tile):
        good[rows] |= (found <= reach_of_reference[None, columns]).any(1)
        covered[columns] |= (found <= reach_of_samples[rows, None]).any(0)
    return PrecisionRecall(float(good.double().mean()), float(covered.double().mean()))
