"""VAR's tokenizer: every scale quantises what the scales before it left over.

Letters: B images, Cv code dimension, H x W grid of the last scale, h_k x w_k and L_k cells of scale k, K scales.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ..codebook import Codebook
from ..codebook_tokenizer import CodebookTokenizer, QuantizedScale, cells, per_image
from .config import VarTokenizerConfig
from .history import ResidualHistory
from .phi import Phi, refine

__all__ = ["VarTokenizer"]


class VarTokenizer(CodebookTokenizer):
    """Multi-scale residual VQ-VAE of "Visual Autoregressive Modeling" (arXiv 2404.02905, algorithms 1 and 2).

    Residuals are resized down by area, codes up by bicubic interpolation (corners not aligned, no antialiasing), then refined
    by a phi. The features of an image are the sum of all scales.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "var_vqvae"

    def __init__(self, config: VarTokenizerConfig) -> None:
        dim = config.autoencoder.latent_channels
        codebook = Codebook(config.vocab_size, dim, metric="cosine" if config.cosine else "euclidean")
        super().__init__(config.autoencoder, codebook, kernel=config.quant_kernel)
        self.config = config
        self.phis = nn.ModuleList(Phi(dim, config.phi_ratio) for _ in range(config.num_phis))

    def contribution(self, codes: Tensor, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return what a scale adds to the features: phi(up(E[codes])).

        Args:
            codes: int64 `[B, L_k]`.
            scale: k.
            schedule: K scales.

        Returns:
            `[B, Cv, H, W]`.

        Raises:
            DataError: The codes are of another scale.
        """
        return self.refine(self.codebook.lookup_map(codes, schedule.sizes[scale]), scale, schedule)

    def refine(self, vectors: Tensor, scale: int, schedule: ScaleSchedule) -> Tensor:
        """Return what code vectors add to the features; see :func:`ar_vision.tokenizers.var_vqvae.phi.refine`."""
        return refine(self.phis, vectors, scale, schedule)

    def history(self, batch: int, schedule: ScaleSchedule) -> ResidualHistory:
        """Return an empty history of ``batch`` rows.

        Raises:
            ConfigError: Every scale has its own phi and the schedule has another number of scales.
        """
        self._check(schedule)
        return ResidualHistory(self, batch, schedule)

    def _scales(self, features: Tensor, schedule: ScaleSchedule) -> Iterator[QuantizedScale]:
        for scale, _ in self._residuals(features, schedule):
            yield scale

    def _quantize_with_losses(
        self, features: Tensor, schedule: ScaleSchedule
    ) -> tuple[list[QuantizedScale], Tensor, Tensor, Tensor]:
        target, accumulated = features.detach(), torch.zeros_like(features)
        code_loss = commit_loss = features.new_zeros(())
        scales = []
        for scale, u in self._residuals(target, schedule):
            scales.append(scale)
            accumulated = accumulated + u
            code_loss = code_loss + per_image(accumulated, target) / schedule.count
            commit_loss = commit_loss + per_image(accumulated.detach(), features) / schedule.count
        return scales, features + (accumulated.detach() - target), code_loss, commit_loss

    def _residuals(self, features: Tensor, schedule: ScaleSchedule) -> Iterator[tuple[QuantizedScale, Tensor]]:
        """Every scale and its contribution; what is quantised carries no gradient, the contribution does."""
        self._check(schedule, tuple(features.shape[2:]))
        rest = features.detach()
        for k, size in enumerate(schedule.sizes):
            last = k == schedule.count - 1
            vectors = cells(rest if last else F.interpolate(rest, size=size, mode="area"))
            codes = self.codebook.nearest(vectors)
            u = self.contribution(codes, k, schedule)
            yield QuantizedScale(codes, vectors), u
            rest = rest - u.detach()

    def _check(self, schedule: ScaleSchedule, size: tuple[int, ...] | None = None) -> None:
        if self.config.phi_per_scale and schedule.count != len(self.phis):
            raise ConfigError(
                f"the schedule {schedule} has {schedule.count} scales and this tokenizer a phi for each of {len(self.phis)}: "
                "give the schedule it was trained with"
            )
        if size is not None and size != schedule.sizes[-1]:
            raise ConfigError(
                f"the features are {size[0]}x{size[1]} and the schedule {schedule} ends at {schedule.height}x"
                f"{schedule.width}: give a schedule that ends at the grid of the image, which is its side / "
                f"{self.downsampling}"
            )

    def _initialize_codebook(self, generator: torch.Generator) -> None:
        """Rows from a normal distribution of standard deviation 1/√Cv, so that they have about unit length.

        The published script for training this tokenizer does not exist; rows as small as LlamaGen's, ±1/V, would all be
        equally near to fresh features, and residuals of later scales would find nothing smaller.
        """
        nn.init.normal_(self.codebook.weight, std=self.code_dim**-0.5, generator=generator)
