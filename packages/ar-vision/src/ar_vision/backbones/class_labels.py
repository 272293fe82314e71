"""Class labels as conditions; the null class, one behind the last, stands for none."""

from collections.abc import Sequence

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from torch import Tensor

__all__ = ["checked_labels", "drop_label"]


def checked_labels(labels: Tensor | Sequence[int], num_classes: int) -> Tensor:
    """Return labels as int64 [B]; ``num_classes`` is the null class.

    Raises:
        DataError: there is none, or one is below 0 or above the null class.
    """
    checked = torch.as_tensor(labels)
    if checked.ndim != 1 or not len(checked) or checked.is_floating_point() or checked.dtype == torch.bool:
        raise DataError(
            f"labels of shape {list(checked.shape)} and {checked.dtype} were given: give one whole number for each image"
        )
    outside = checked[(checked < 0) | (checked > num_classes)]
    if len(outside):
        raise DataError(
            f"the label {outside[0].item()} was given: classes run from 0 to {num_classes - 1}, and {num_classes} stands for "
            "no class"
        )
    return checked.long()


def drop_label(label: int, num_classes: int, rate: float, rng: SampleRng, index: int) -> int:
    """Return the label, or with probability ``rate`` the null class; decided by the sample's own randomness.

    Args:
        label: of the sample.
        num_classes: the null class.
        rate: in [0, 1]; at 0 nothing is drawn.
        rng: randomness that belongs to samples.
        index: number of the sample in the run.
    """
    if not rate or float(torch.rand((), generator=rng.row(index, "label dropout"), dtype=torch.float64)) >= rate:
        return label
    return num_classes
