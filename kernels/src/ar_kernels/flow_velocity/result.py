"""What the op gives for each row."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["FlowMean"]


class FlowMean(NamedTuple):
    """Posterior of the code that a row is on its way to.

    Attributes:
        mean: sum of the codes by their weights, float32 or float64 [N, C].
        code: id of the code with the largest weight, of equal ones the first in the row's list, int64 [N].
        weight: that weight, of the dtype of the mean, [N]; 1 where all is decided.
    """

    mean: Tensor
    code: Tensor
    weight: Tensor
