"""VAR's ``more_smooth``: mixtures of code vectors in the place of codes.

Source: the published code of VAR (arXiv 2404.02905).
"""

from collections.abc import Sequence

import torch
from ar_core.sampling import gumbel_noise
from torch import Generator, Tensor

from ...decoding.image_sampler import ImageSampler
from ...scales import ScaleSchedule
from ...tokenizers.var_vqvae.model import VarTokenizer

__all__ = ["SmoothScales", "smooth_weights"]


class SmoothScales:
    """A `ar_vision.tokenizers.scale_history.ScaleHistory` of soft choices, and the picker that makes them.

    Makes pictures smoother and measures worse: published code warns against it where FID is measured.

    Args:
        tokenizer: whose code vectors are mixed.
        batch: rows.
        schedule: K scales.
        sampler: its filters come first.
    """

    def __init__(self, tokenizer: VarTokenizer, batch: int, schedule: ScaleSchedule, sampler: ImageSampler) -> None:
        self._history = tokenizer.history(batch, schedule)
        self._table, self._schedule, self._sampler = tokenizer.codebook.weight, schedule, sampler
        self._mixtures: Tensor | None = None

    def pick(self, scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Mix the code vectors of scale k; returns the code with the largest part in each mixture, int64 [B, L_k]."""
        scores = self._sampler.filtered(logits)
        noise = torch.stack([gumbel_noise(scores.shape[1:], g, device=scores.device) for g in generators])
        weights = smooth_weights(scores, noise, scale / max(self._schedule.count - 1, 1))
        mixed = weights.to(self._table.dtype) @ self._table
        self._mixtures = mixed.transpose(1, 2).unflatten(2, self._schedule.sizes[scale])
        return weights.argmax(-1)

    def add(self, codes: Tensor) -> None:
        """Add the mixtures that were picked last; the codes, int64 [B, L_k], only name their largest parts."""
        assert self._mixtures is not None
        self._history.add_vectors(self._mixtures)

    def next_input(self) -> Tensor:
        """Return the features so far on the grid of the next scale, [B, Cv, h_k, w_k]."""
        return self._history.next_input()

    @property
    def features(self) -> Tensor:
        """The sum of the scales so far, [B, Cv, H, W]."""
        return self._history.features


def smooth_weights(scores: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """Return softmax(((1 + r) scores + noise) / tau) with tau = max(0.27 (1 - 0.95 r), 0.005), float32 or better.

    Args:
        scores: filtered logits [..., V].
        noise: standard Gumbel noise of the same shape.
        ratio: r, place of the scale among all, 0 for the first and 1 for the last.

    Returns:
        [..., V], of sum 1.
    """
    tau = max(0.27 * (1 - 0.95 * ratio), 0.005)
    return ((scores * (1 + ratio) + noise) / tau).softmax(-1)
