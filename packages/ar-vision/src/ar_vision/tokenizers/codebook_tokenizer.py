"""What tokenizers with a codebook share: an autoencoder around it, and its training pass.

Letters: B images, H x W pixels, h x w latent cells, Cz latent channels, Cv code dimension, V codes.

Source: VQ-VAE (arXiv 1711.00937) and VQGAN (arXiv 2012.09841).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..scales import ScaleSchedule
from .autoencoder import ConvDecoder, ConvEncoder, initialize_convolutions
from .autoencoder_config import AutoencoderConfig
from .codebook import Codebook
from .tokenizer_output import TokenizerOutput

__all__ = ["CodebookTokenizer", "QuantizedScale", "at_least_float32", "cells", "per_image"]


@dataclass(frozen=True)
class QuantizedScale:
    """One scale on its way through a quantiser."""

    codes: Tensor
    """int64 `[B, L_k]`."""
    vectors: Tensor
    """What was looked up, `[B, L_k, Cv]`, detached."""


class CodebookTokenizer(nn.Module):
    """An autoencoder with a codebook in the middle: encoder, ``quant_conv``, codebook, ``post_quant_conv``, decoder.

    Args:
        autoencoder: shape of encoder and decoder.
        codebook: V x Cv.
        kernel: side of the two convolutions around the codebook, odd.
    """

    def __init__(self, autoencoder: AutoencoderConfig, codebook: Codebook, *, kernel: int) -> None:
        super().__init__()
        latent, dim = autoencoder.latent_channels, codebook.weight.shape[1]
        self.encoder = ConvEncoder(autoencoder)
        self.quant_conv = nn.Conv2d(latent, dim, kernel, padding=kernel // 2)
        self.codebook = codebook
        self.post_quant_conv = nn.Conv2d(dim, latent, kernel, padding=kernel // 2)
        self.decoder = ConvDecoder(autoencoder)

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell, in each direction."""
        return self.encoder.config.downsampling

    @property
    def code_dim(self) -> int:
        """Cv."""
        return self.codebook.weight.shape[1]

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.codebook.weight.shape[0]

    @property
    def named_codebooks(self) -> dict[str, Codebook]:
        """The one codebook, which needs no name."""
        return {"": self.codebook}

    def split(self, codes: Tensor) -> dict[str, Tensor]:
        """Return the codes of the one codebook, int64 `[B, L_k]`, under its name, which is empty."""
        return {"": codes}

    def encode(self, images: Tensor) -> Tensor:
        """Return the features before quantisation.

        Args:
            images: float `[B, 3, H, W]` in [-1, 1], H and W multiples of the downsampling.

        Returns:
            `[B, Cv, h, w]` of the dtype of the weights.

        Raises:
            DataError: The images are of another shape or type.
        """
        out: Tensor = self.quant_conv(self.encoder(images))
        return out

    def decode(self, features: Tensor) -> Tensor:
        """Return the images of quantised features.

        Args:
            features: `[B, Cv, h, w]`, as the ``features`` of a history are.

        Returns:
            `[B, 3, H, W]` of the dtype of the weights, about in [-1, 1] and not clamped.
        """
        out: Tensor = self.decoder(self.post_quant_conv(features.to(self.post_quant_conv.weight.dtype)))
        return out

    @torch.no_grad()
    def quantize(self, features: Tensor, schedule: ScaleSchedule) -> list[Tensor]:
        """Return the codes of features at every scale.

        Args:
            features: `[B, Cv, h, w]`, what ``encode`` returns.
            schedule: K scales.

        Returns:
            K tensors int64 `[B, L_k]`.
        """
        return [scale.codes for scale in self._scales(at_least_float32(features), schedule)]

    def train_forward(self, images: Tensor, schedule: ScaleSchedule) -> TokenizerOutput:
        """Encode, quantise and decode images with gradients.

        The quantiser runs in float32 or better, also under autocast.

        Args:
            images: `[B, 3, H, W]` in [-1, 1], as ``encode`` takes them.
            schedule: K scales.

        Raises:
            DataError: The images are of another shape or type.
            ConfigError: The schedule does not fit the tokenizer.
        """
        encoded = self.encode(images)
        scales, quantized, code_loss, commit_loss = self._quantize_with_losses(at_least_float32(encoded), schedule)
        codes = [scale.codes for scale in scales]
        return TokenizerOutput(
            reconstruction=self.decode(quantized),
            codes=codes,
            code_loss=code_loss,
            commit_loss=commit_loss,
            vectors=torch.cat([scale.vectors.flatten(0, 1) for scale in scales]),
            used=self.codebook.count(torch.cat(codes, dim=1)),
        )

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights afresh for training from scratch: convolutions uniformly in ±1/√(fan-in), then the codebook.

        Args:
            generator: of the device that the tokenizer is on.
        """
        initialize_convolutions(self, generator)
        self._initialize_codebook(generator)

    def _initialize_codebook(self, generator: torch.Generator) -> None:
        raise NotImplementedError

    def _scales(self, features: Tensor, schedule: ScaleSchedule) -> Iterable[QuantizedScale]:
        raise NotImplementedError

    def _quantize_with_losses(
        self, features: Tensor, schedule: ScaleSchedule
    ) -> tuple[list[QuantizedScale], Tensor, Tensor, Tensor]:
        """Scales, quantised features with a straight-through gradient, code loss and commitment loss."""
        raise NotImplementedError


def cells(features: Tensor) -> Tensor:
    """Return features `[B, C, h, w]` as rows of cells, row-major, `[B, h w, C]`."""
    return features.flatten(2).transpose(1, 2)


def per_image(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference of each image, x `[B, ...]` against y `[B, ...]`, summed over the images: a
    scalar.
    """
    return (x - y).square().flatten(1).mean(1).sum()


def at_least_float32(x: Tensor) -> Tensor:
    """Return features of any shape in float32, or in float64 as they are: what quantisers compute in, also under
    autocast.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
