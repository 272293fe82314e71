"""The features that VAR's scales add up to.

Source: VAR (arXiv 2404.02905), algorithm 2.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ...scales import ScaleSchedule

if TYPE_CHECKING:
    from .model import VarTokenizer

__all__ = ["ResidualHistory"]


class ResidualHistory:
    """Accumulates scales: a `ScaleHistory`.

    Args:
        tokenizer: whose codes they are.
        batch: rows.
        schedule: K scales.
    """

    def __init__(self, tokenizer: "VarTokenizer", batch: int, schedule: ScaleSchedule) -> None:
        self._tokenizer, self._schedule, self._added = tokenizer, schedule, 0
        weight = tokenizer.codebook.weight
        self._features = torch.zeros(
            (batch, tokenizer.code_dim, schedule.height, schedule.width),
            dtype=torch.promote_types(weight.dtype, torch.float32),
            device=weight.device,
        )

    def add(self, codes: Tensor) -> None:
        """Add the codes, int64 `[B, L_k]`, of the next scale: fhat += phi(up(E[codes])).

        Raises:
            DataError: They are of another scale.
        """
        self.add_vectors(self._tokenizer.codebook.lookup_map(codes, self._schedule.sizes[self._added]))

    def add_vectors(self, vectors: Tensor) -> None:
        """Add code vectors `[B, Cv, h_k, w_k]` of the next scale, or mixtures of them: fhat += phi(up(vectors))."""
        self._features = self._features + self._tokenizer.refine(vectors, self._added, self._schedule)
        self._added += 1

    def next_input(self) -> Tensor:
        """Return the features so far, resized by area to the grid of the next scale, `[B, Cv, h_k, w_k]`."""
        return F.interpolate(self._features, size=self._schedule.sizes[self._added], mode="area")

    @property
    def features(self) -> Tensor:
        """The sum of the scales so far, float32 or better, `[B, Cv, H, W]`."""
        return self._features
