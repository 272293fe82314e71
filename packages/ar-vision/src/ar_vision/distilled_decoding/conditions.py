"""What numbers of conditions stand for: classes, or texts of a list.

Source: ours.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from ar_core.errors import DataError
from torch import Tensor

from ..backbones.class_labels import checked_labels
from .student import Student, StudentCondition

__all__ = ["checked_conditions", "condition_of"]


def checked_conditions(numbers: Tensor | Sequence[int], student: Any, texts: Sequence[Tensor] | None) -> Tensor:
    """Return the numbers as int64 [B] on the CPU.

    Args:
        numbers: B classes, or numbers of texts, int64 [B].
        student: whose classes.
        texts: features [m, width] of each text, for a student of texts.

    Raises:
        DataError: one is no class, or no text.
    """
    if texts is None:
        return checked_labels(numbers, student.config.num_classes, null=False)
    found = torch.as_tensor(numbers, dtype=torch.int64)
    outside = found[(found < 0) | (found >= len(texts))]
    if len(outside):
        raise DataError(
            f"text {int(outside[0])} was given and there are {len(texts)} texts: give 0 to {len(texts) - 1}"
        )
    return found


def condition_of(student: Student, numbers: Tensor, texts: Sequence[Tensor] | None) -> StudentCondition:
    """Return the condition of B images, on the student's device.

    Args:
        student: of classes, or of texts.
        numbers: int64 [B], of classes or texts.
        texts: features [m, width] of each text, for a student of texts.
    """
    if texts is None:
        return student.condition_of(numbers.to(student.device))
    out: StudentCondition = cast(Any, student).condition_of_texts([texts[number] for number in numbers.tolist()])
    return out
