"""What is told of a prediction."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Confidence"]


class Confidence(NamedTuple):
    """Four numbers for each of R rows of logits; all but the token are NaN for a row with a logit that is NaN, or whose
    largest is infinite.

    Attributes:
        token: int64 [R], the most probable token that is not banned; the lowest id among ties.
        probability: float32 [R] in (0, 1], its softmax probability.
        entropy: float32 [R] in nats, of the distribution after temperature and banning.
        margin: float32 [R] in [0, 1], its probability minus the runner-up's; 1 where all other ids are banned.
    """

    token: Tensor
    probability: Tensor
    entropy: Tensor
    margin: Tensor
