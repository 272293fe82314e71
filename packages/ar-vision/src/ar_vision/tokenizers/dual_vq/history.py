"""The codes of an image's one grid as features of both codebooks.

Source: ours.
"""

import torch
from ar_core.errors import DataError
from torch import Tensor

from ...scales import ScaleSchedule
from .paired import PairedCodebooks

__all__ = ["PairedHistory"]


class PairedHistory:
    """Takes the codes of the one scale that there is: a `ScaleHistory`.

    Args:
        codebooks: whose pairs they are.
        batch: B rows.
        schedule: the one grid.
    """

    def __init__(self, codebooks: PairedCodebooks, batch: int, schedule: ScaleSchedule) -> None:
        self._codebooks, self._size = codebooks, schedule.sizes[-1]
        weight = next(codebooks.parameters())
        self._features = torch.zeros((batch, codebooks.dim, *self._size), dtype=weight.dtype, device=weight.device)

    def add(self, codes: Tensor) -> None:
        """Take the codes, pairs int64 `[B, L]`.

        Raises:
            DataError: They are of another grid.
        """
        self._features = self._codebooks.lookup_map(codes, self._size)

    def next_input(self) -> Tensor:
        """Refuse to give `[B, 2d, h, w]`: there is one scale.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "a tokenizer with two codebooks has one scale, and no next one: use it for a generator of codes in raster order"
        )

    @property
    def features(self) -> Tensor:
        """Looked-up vectors of both codebooks, `[B, 2d, g, g]`; zeros before the codes are added."""
        return self._features
