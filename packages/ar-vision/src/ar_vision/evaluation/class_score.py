"""The Inception Score (arXiv 1606.03498), on the class probabilities of any classifier."""

from dataclasses import dataclass

import torch
from ar_core.errors import ConfigError
from torch import Tensor

__all__ = ["ClassScore", "Score"]


@dataclass(frozen=True)
class Score:
    """The score as it is published."""

    mean: float
    """Over the splits, at least 1."""
    deviation: float
    """Population standard deviation over the splits."""


class ClassScore:
    """exp of the mean divergence KL(p(y|x) || p(y)) of each split, from a stream of probabilities.

    Which split an image belongs to is drawn from its number alone: splits of neighbouring images, as published, measure
    the order of the labels where images are sorted by class.

    Args:
        count: N, images to come.
        classes: Q.
        splits: number of splits; published: 10 of 5,000 images.

    Raises:
        ConfigError: there are more splits than images.
    """

    def __init__(self, count: int, classes: int, splits: int = 10) -> None:
        if not 1 <= splits <= count:
            raise ConfigError(f"{splits} splits of {count} images were asked for: give between 1 and {count}")
        places = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        self._split = places % splits
        self._seen = 0
        self._sums = torch.zeros(splits, classes, dtype=torch.float64)
        self._entropies = torch.zeros(splits, dtype=torch.float64)

    def add(self, probabilities: Tensor) -> None:
        """Add probabilities [B, Q] of the next images."""
        p = probabilities.detach().to("cpu", torch.float64)
        split = self._split[self._seen : self._seen + len(p)]
        self._seen += len(p)
        self._sums.index_add_(0, split, p)
        self._entropies.index_add_(0, split, torch.special.entr(p).sum(1))

    def score(self) -> Score:
        """Return the score, between 1 and Q, once all N images were added."""
        assert self._seen == len(self._split)
        sizes = torch.bincount(self._split, minlength=len(self._sums)).double()
        # The mean divergence is the entropy of the mean less the mean of the entropies.
        marginal = torch.special.entr(self._sums / sizes[:, None]).sum(1)
        scores = (marginal - self._entropies / sizes).exp()
        return Score(float(scores.mean()), float(scores.std(correction=0)))
