"""How near samples come to training images, beside how near held-out images come: a check for memorisation."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ar_core.errors import DataError
from torch import Tensor

from .distances import TILE, squared_distances

__all__ = ["Nearest", "NearestTraining", "memorisation"]

LOW = 0.01
"""Quantile of the held-out distances below which a sample counts as suspiciously near."""
LISTED = 16
CLOSE = 1e-6
"""More than float64 loses by expanding the norms."""


@dataclass(frozen=True)
class Nearest:
    """The nearest training vector of each query.

    Attributes:
        distance: float64 [N], Euclidean.
        index: int64 [N], its number.
    """

    distance: Tensor
    index: Tensor


class NearestTraining:
    """Finds the nearest of a stream of training vectors for each of N queries, in memory for the queries alone.

    Args:
        queries: [N, D], of any type.
    """

    def __init__(self, queries: Tensor) -> None:
        self._queries = queries.cpu()
        self._best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
        self._index = torch.full((len(queries),), -1, dtype=torch.int64)
        self._seen = 0
        self._waiting: list[Tensor] = []

    def add(self, vectors: Tensor) -> None:
        """Take the next training vectors [B, D]; they are compared when a tile of them is there."""
        self._waiting.append(vectors.cpu())
        if sum(map(len, self._waiting)) >= TILE:
            self._compare()

    def _compare(self) -> None:
        vectors = torch.cat(self._waiting)
        self._waiting.clear()
        nearest, found = squared_distances(self._queries, vectors).min(1)
        # Distances of those that may be nearer than before are taken once more, directly: a copy is at exactly 0.
        rows = (nearest <= self._best * (1 + CLOSE) + CLOSE).nonzero().squeeze(1)
        exact = (self._queries[rows].double() - vectors[found[rows]].double()).square().sum(1)
        better = exact < self._best[rows]
        rows = rows[better]
        self._best[rows] = exact[better]
        self._index[rows] = found[rows] + self._seen
        self._seen += len(vectors)

    def result(self) -> Nearest:
        """Return what was found.

        Raises:
            DataError: there was no training vector.
        """
        if self._waiting:
            self._compare()
        if not self._seen:
            raise DataError("there are no training images to compare with: give a training set that is not empty")
        return Nearest(self._best.sqrt(), self._index)


def memorisation(samples: Nearest, held_out: Nearest, numbers: Iterable[int] | None = None) -> dict[str, Any]:
    """Put the distances of samples beside those of held-out images, which the model cannot have memorised.

    Args:
        samples: of generated images.
        held_out: of images of the same distribution that were not trained on.
        numbers: what sample rows are called in the list of the nearest; None numbers them from 0.

    Returns:
        ``samples`` and ``held_out``: smallest, 1 % quantile, median, mean; ``copies``: samples at distance 0; ``below``: share
        of samples nearer than the 1 % quantile of the held-out images (0.01 is what no memorisation looks like); ``nearest``:
        sample, training image and distance of the nearest pairs, to look at.
    """
    threshold = torch.quantile(held_out.distance, LOW)
    names = list(range(len(samples.distance))) if numbers is None else list(numbers)
    order = samples.distance.argsort(stable=True)[:LISTED].tolist()
    return {
        "samples": asdict(_summary(samples.distance)),
        "held_out": asdict(_summary(held_out.distance)),
        "copies": int((samples.distance == 0).sum()),
        "below": float((samples.distance < threshold).double().mean()),
        "nearest": [
            {"sample": names[row], "training": int(samples.index[row]), "distance": float(samples.distance[row])}
            for row in order
        ],
    }


@dataclass(frozen=True)
class _Summary:
    count: int
    smallest: float
    quantile_01: float
    median: float
    mean: float


def _summary(distances: Tensor) -> _Summary:
    smallest, low, median = torch.quantile(distances, torch.tensor([0.0, LOW, 0.5], dtype=torch.float64)).tolist()
    return _Summary(len(distances), smallest, low, median, float(distances.mean()))
