"""Confidence of logits that come in pieces: running statistics, rescaled when the maximum moves.

Of the ids seen so far: the best two logits, the id of the first, s = sum e^(z-m) and w = sum (z-m) e^(z-m), m the best. Then
entropy = log s - w / s, which needs no second pass over the logits and does not cancel where these are large.

Source: online softmax (arXiv 1805.02867); entropy and runner-up are ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ar_kernels.confidence.result import Confidence

__all__ = ["Statistics", "merge"]


@dataclass
class Statistics:
    """Of R rows and some of their ids.

    Attributes:
        token: int64 [R].
        best: [R], the largest logit m; minus infinity where all ids are banned.
        second: [R], the runner-up.
        total: [R], s.
        weighted: [R], w.
    """

    token: Tensor
    best: Tensor
    second: Tensor
    total: Tensor
    weighted: Tensor

    @classmethod
    def of(cls, z: Tensor, first: int) -> "Statistics":
        """Of logits [R, n] of the ids `first` to `first + n`, float32 or better; written to."""
        best, place = z.max(1)
        second = torch.full_like(best, -torch.inf)
        if z.shape[1] > 1:
            # The best is taken out while the runner-up is looked for.
            z.scatter_(1, place[:, None], -torch.inf)
            second = z.amax(1)
            z.scatter_(1, place[:, None], best[:, None])
        # In a piece of banned ids alone, the differences would not be numbers.
        below = z.sub_(torch.where(best.isinf(), 0, best)[:, None])
        e = below.exp()
        total = e.sum(1)
        weighted = torch.bmm(e[:, None], below.masked_fill_(below.isneginf(), 0)[:, :, None])[:, 0, 0]
        return cls(place + first, best, second, total, weighted)

    def confidence(self) -> Confidence:
        """The four numbers; all but the token are NaN where the best logit is infinite, as those of a softmax are."""
        total = self.total.masked_fill(self.best.isinf(), torch.nan)
        entropy = (total.log() - self.weighted / total).clamp_min(0)
        margin = (1 - (self.second - self.best).exp()) / total
        return Confidence(self.token, 1 / total, entropy, margin)


def merge(one: Statistics, other: Statistics) -> Statistics:
    """Of the ids of both; those of `one` are the lower ones, which win ties."""
    ahead = other.best > one.best
    best = torch.maximum(one.best, other.best)
    second = torch.maximum(torch.maximum(one.second, other.second), torch.minimum(one.best, other.best))
    total, weighted = torch.zeros_like(best), torch.zeros_like(best)
    for part in (one, other):
        # A part with no id left has no weight; its distance to the best is no number.
        moved = torch.where(part.best.isneginf(), 0, part.best - best)
        factor = torch.where(part.best.isneginf(), 0, moved.exp())
        total = total + factor * part.total
        weighted = weighted + factor * (part.weighted + moved * part.total)
    return Statistics(torch.where(ahead, other.token, one.token), best, second, total, weighted)
