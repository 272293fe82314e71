"""Where two outputs of one prompt part, and how close the decision was.

Source: ours.
"""

import math
from collections.abc import Iterable, Sequence
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
        margin: ≥ 0, how much the logit of what the other output has there falls short of the best, computed without a cache.
            Where it is as small as the rounding of logits, passes of different shapes may pick either token; where it is
            not, the other output is wrong. An output that ended early counts as the best of the stop ids; infinite if
            none are known.
    """

    step: int
    expected: int | None
    got: int | None
    margin: float

    def __str__(self) -> str:
        return f"step {self.step}: {self.expected} expected, {self.got} found, whose logit is {self.margin:.2e} below the best"


@torch.no_grad()
def first_difference(
    backbone: Backbone,
    prompt: Sequence[int],
    expected: Sequence[int],
    got: Sequence[int],
    *,
    stop_ids: Iterable[int] = (),
    banned_ids: Iterable[int] = (),
) -> FirstDifference | None:
    """Compare two generated sequences of one prompt; costs one uncached pass if they are not equal.

    Args:
        backbone: the model.
        prompt: ids before both.
        expected: the reference.
        got: the other output.
        stop_ids: ids that end an output and are not kept in it, one of which stood where ``got`` ends early.
        banned_ids: ids that neither decoder may choose.

    Returns:
        Where they part, or ``None`` if they are equal.
    """
    if list(expected) == list(got):
        return None
    pairs = zip(expected, got)
    step = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(got)))
    logits = backbone.head(uncached_pass(backbone, [*prompt, *expected[:step]])[-1])
    allowed = logits.tolist()
    for banned in banned_ids:
        allowed[banned] = -math.inf
    candidates = [got[step]] if step < len(got) else list(stop_ids)
    return FirstDifference(
        step,
        expected[step] if step < len(expected) else None,
        got[step] if step < len(got) else None,
        max(allowed) - max((allowed[token] for token in candidates), default=-math.inf),
    )
