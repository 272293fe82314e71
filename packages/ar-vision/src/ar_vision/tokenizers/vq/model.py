"""The tokenizer of LlamaGen and FlexVAR: every scale is a quantisation of the whole image, on its own.

Letters: B images, Cv code dimension, h x w latent cells, h_k x w_k and L_k cells of scale k, K scales, V codes.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ..codebook import Codebook
from ..codebook_tokenizer import CodebookTokenizer, QuantizedScale, cells, per_image
from .config import VqTokenizerConfig
from .history import PreviousScaleHistory

__all__ = ["VqTokenizer"]


class VqTokenizer(CodebookTokenizer):
    """VQ autoencoder of LlamaGen (arXiv 2406.06525), with FlexVAR's independent scales (arXiv 2502.20313, section 3).

    A scale is the features resized by area to its grid, then quantised; a schedule of the one scale (h, w) is LlamaGen's use.
    Grids finer than the features repeat cells, as area resizing does.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "vq"

    def __init__(self, config: VqTokenizerConfig) -> None:
        codebook = Codebook(
            config.vocab_size,
            config.code_dim,
            metric="cosine" if config.normalized else "euclidean",
            unit_rows=config.normalized,
        )
        super().__init__(config.autoencoder, codebook, kernel=1)
        self.config = config

    def history(self, batch: int, schedule: ScaleSchedule) -> PreviousScaleHistory:
        """Return an empty history of ``batch`` rows."""
        return PreviousScaleHistory(self.codebook, batch, schedule)

    def _scales(self, features: Tensor, schedule: ScaleSchedule) -> Iterator[QuantizedScale]:
        for resized in self._resized(features, schedule):
            yield self._quantized(resized)

    def _quantize_with_losses(
        self, features: Tensor, schedule: ScaleSchedule
    ) -> tuple[list[QuantizedScale], Tensor, Tensor, Tensor]:
        """Losses are means over the scales; what is decoded is the last scale, whose grid may be coarser than the image's.

        FlexVAR trains its tokenizer on reconstructions at several resolutions: the training option ``schedules: one_scale``.
        """
        code_loss = commit_loss = features.new_zeros(())
        scales, quantized = [], features
        for resized in self._resized(features, schedule):
            scale = self._quantized(resized)
            scales.append(scale)
            compared = F.normalize(resized, dim=1) if self.config.normalized else resized
            code = self.codebook.lookup_map(scale.codes, (resized.shape[2], resized.shape[3]))
            code_loss = code_loss + per_image(code, compared.detach()) / schedule.count
            commit_loss = commit_loss + per_image(code.detach(), compared) / schedule.count
            quantized = compared + (code - compared).detach()
        return scales, quantized, code_loss, commit_loss

    def _quantized(self, resized: Tensor) -> QuantizedScale:
        vectors = cells(resized.detach())
        return QuantizedScale(self.codebook.nearest(vectors), vectors)

    def _resized(self, features: Tensor, schedule: ScaleSchedule) -> Iterator[Tensor]:
        for size in schedule.sizes:
            same = size == tuple(features.shape[2:])
            yield features if same else F.interpolate(features, size=size, mode="area")

    def _initialize_codebook(self, generator: torch.Generator) -> None:
        """Entries uniform in ±1/V; at unit length where the rows are used so, because tiny rows would get huge gradients."""
        bound = 1 / self.vocab_size
        nn.init.uniform_(self.codebook.weight, -bound, bound, generator=generator)
        if self.config.normalized:
            self.codebook.weight.copy_(F.normalize(self.codebook.weight, dim=-1))
