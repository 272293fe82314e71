"""The numbers that rolled-out codes are drawn by.

Source: ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ar_core.corruption import SampleRng
from torch import Tensor

from ..scales import ScaleSchedule

__all__ = ["rollout_uniforms"]


def rollout_uniforms(batch: Sequence[Mapping[str, Any]], rng: SampleRng, schedule: ScaleSchedule) -> Tensor:
    """Return one number in [0, 1) for each code of each sample, float64 [B, L]: a function of the sample, whatever its batch.

    Args:
        batch: B samples with ``index``.
        rng: stream "rollout".
        schedule: K scales.
    """
    return torch.stack(
        [
            torch.rand(schedule.total, dtype=torch.float64, generator=rng.row(sample["index"], "rollout"))
            for sample in batch
        ]
    )
