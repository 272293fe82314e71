"""Where two outputs of one prompt part, and how close the decision was."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ar_core.decoding import Backbone, uncached_pass

__all__ = ["FirstDifference", "first_difference"]


@dataclass(frozen=True)
class FirstDifference:
    """The first step at which two outputs differ.

    Attributes:
        step: index into the generated tokens.
        expected: id there in the reference, ``None`` if it ended before.
        got: id there in the other output, ``None`` if it ended before.
        margin: best minus second-best logit at that step, computed without a cache. Where it is as small as the rounding of
            logits, passes of different shapes may pick either token; where it is not, one of the outputs is wrong.
    """

    step: int
    expected: int | None
    got: int | None
    margin: float

    def __str__(self) -> str:
        return f"step {self.step}: {self.expected} expected, {self.got} found, top-2 margin {self.margin:.2e}"


@torch.no_grad()
def first_difference(
    backbone: Backbone, prompt: Sequence[int], expected: Sequence[int], got: Sequence[int]
) -> FirstDifference | None:
    """Compare two generated sequences of one prompt; ``None`` if they are equal. Costs one uncached pass if they are not."""
    if list(expected) == list(got):
        return None
    pairs = zip(expected, got)
    step = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(got)))
    hidden = uncached_pass(backbone, [*prompt, *expected[:step]])
    best, second = backbone.head(hidden[-1]).topk(2).values.tolist()
    return FirstDifference(
        step,
        expected[step] if step < len(expected) else None,
        got[step] if step < len(got) else None,
        best - second,
    )
