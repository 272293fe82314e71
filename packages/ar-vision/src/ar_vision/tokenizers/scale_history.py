"""What the scales so far amount to: the one path from codes to the inputs of a next-scale generator.

Source: ours, over VAR (arXiv 2404.02905), FlexVAR (arXiv 2502.20313) and Infinity (arXiv 2412.04431).
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

__all__ = ["ScaleHistory", "teacher_inputs"]


class ScaleHistory(Protocol):
    """Codes of scale after scale as features; training and decoding both feed a generator from it.

    Shapes: B rows, Cv code dimension, h_k x w_k grid of scale k, H x W of the last scale.
    """

    def add(self, codes: Tensor) -> None:
        """Take the codes of the next scale, int64 [B, L_k] (bits: bool [B, L_k, d])."""
        ...

    def next_input(self) -> Tensor:
        """Return what the scale behind the one added last is fed with, [B, Cv, h_k, w_k]."""
        ...

    @property
    def features(self) -> Tensor:
        """What the tokenizer's ``decode`` takes, [B, Cv, H, W]."""
        ...


def teacher_inputs(history: ScaleHistory, codes: Sequence[Tensor]) -> list[Tensor]:
    """Return the inputs of scales 1 to K-1 under teacher forcing: what decoding would feed had it chosen these codes.

    Args:
        history: an empty one.
        codes: ground truth of all K scales, int64 [B, L_k] or bool [B, L_k, d], as ``ScaleHistory.add`` takes them.

    Returns:
        K-1 tensors [B, Cv, h_k, w_k].
    """
    inputs = []
    for scale in codes[:-1]:
        history.add(scale)
        inputs.append(history.next_input())
    return inputs
