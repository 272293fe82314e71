"""Class labels as conditions; the null class, one behind the last, stands for none.

Source: classifier-free guidance (arXiv 2207.12598): a null class beside the others.
"""

from collections.abc import Sequence

import torch
from ar_core.errors import DataError
from torch import Tensor

__all__ = ["checked_labels"]


def checked_labels(labels: Tensor | Sequence[int], num_classes: int, *, null: bool = True) -> Tensor:
    """Return labels as int64 [B]; ``num_classes`` is the null class.

    Args:
        labels: of B images.
        num_classes: of the model.
        null: whether the null class is allowed: to generate from, and never as the label of a training sample.

    Raises:
        DataError: there is none, one is no whole number, or one is below 0 or above the last that is allowed.
    """
    try:
        checked = torch.as_tensor(labels)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"the labels {labels!r:.60} are no list of whole numbers: give one for each image") from error
    if checked.ndim != 1 or not len(checked) or checked.is_floating_point() or checked.dtype == torch.bool:
        raise DataError(
            f"labels of shape {list(checked.shape)} and {checked.dtype} were given: give one whole number for each image"
        )
    outside = checked[(checked < 0) | (checked >= num_classes + null)]
    if len(outside):
        none = f", and {num_classes} stands for no class" if null else ""
        raise DataError(
            f"the label {outside[0].item()} was given: classes run from 0 to {num_classes - 1}{none}: correct it"
        )
    return checked.long()
