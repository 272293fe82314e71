"""The scale that was added last: all that FlexVAR's next scale is fed with.

Source: FlexVAR (arXiv 2502.20313), section 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...scales import ScaleSchedule
from ..codebook import Codebook

__all__ = ["PreviousScaleHistory"]


class PreviousScaleHistory:
    """Keeps one scale: a `ScaleHistory` of independent scales.

    Args:
        codebook: whose codes they are.
        batch: rows.
        schedule: K scales.
    """

    def __init__(self, codebook: Codebook, batch: int, schedule: ScaleSchedule) -> None:
        self._codebook, self._schedule, self._added = codebook, schedule, 0
        weight = codebook.weight
        self._features = torch.zeros(
            (batch, weight.shape[1], *schedule.sizes[0]), dtype=weight.dtype, device=weight.device
        )

    def add(self, codes: Tensor) -> None:
        """Take the codes, int64 `[B, L_k]`, of the next scale in the place of the one before.

        Raises:
            DataError: They are of another scale.
        """
        self._features = self._codebook.lookup_map(codes, self._schedule.sizes[self._added])
        self._added += 1

    def next_input(self) -> Tensor:
        """Return the code vectors of the last scale, resized bicubically to the grid of the next, `[B, Cv, h_k, w_k]`."""
        return F.interpolate(self._features, size=self._schedule.sizes[self._added], mode="bicubic")

    @property
    def features(self) -> Tensor:
        """Code vectors of the scale added last on its own grid, `[B, Cv, h_k, w_k]`; zeros before the first."""
        return self._features
