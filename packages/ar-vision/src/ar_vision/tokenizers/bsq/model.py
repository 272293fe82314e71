"""The tokenizer: images to bits of several scales and back."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ..autoencoder import ConvDecoder, ConvEncoder, initialize_convolutions
from ..tokenizer_output import TokenizerOutput
from .bit_history import BitHistory
from .config import BsqTokenizerConfig, InputResize
from .entropy import commitment, entropy_penalty

__all__ = ["BsqTokenizer"]


class BsqTokenizer(nn.Module):
    """Infinity's autoencoder with its multi-scale residual binary spherical quantiser (arXiv 2412.04431, section 3.2).

    There is no codebook: a token is d_v bits, and 2^d_v values need no table. Schedules count tokens, so that with ``patchify``
    latent features have twice the height and width of the last scale.

    Letters: B images, H x W tokens of the last scale, d bits of a latent cell, s cells along the side of a token (1 or 2),
    d_v = s² d bits of a token, L_k tokens of scale k.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "bsq"

    def __init__(self, config: BsqTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvEncoder(config.autoencoder)
        self.decoder = ConvDecoder(config.autoencoder)

    @property
    def bits(self) -> int:
        """d_v, bits of a token; stands in for the size of a vocabulary."""
        return self.config.bits

    @property
    def code_dim(self) -> int:
        """d_v again: what a generator is fed with has a channel a bit."""
        return self.config.bits

    @property
    def downsampling(self) -> int:
        """Pixels per token, in each direction; with ``patchify`` twice those of a latent cell."""
        return self.config.autoencoder.downsampling * self.config.side

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights afresh."""
        initialize_convolutions(self, generator)

    def encode(self, images: Tensor) -> Tensor:
        """Return features [B, d, s H, s W] of images [B, 3, height, width] in [-1, 1].

        Raises:
            DataError: a side is no multiple of the pixels of a latent cell, or the images are no images.
        """
        out: Tensor = self.encoder(images)
        return out

    def history(self, batch: int, schedule: ScaleSchedule, *, input_resize: InputResize = "bilinear") -> BitHistory:
        """Return an empty history of B rows on the tokenizer's device."""
        device = next(self.parameters()).device
        side = self.config.side
        return BitHistory(batch, schedule, self.bits, side=side, device=device, input_resize=input_resize)

    def quantize(self, features: Tensor, schedule: ScaleSchedule) -> list[Tensor]:
        """Return the bits of every scale, bool [B, L_k, d_v], of features [B, d, s H, s W].

        Raises:
            ConfigError: the schedule ends on another grid than that of the features.
        """
        history = self.history(features.shape[0], schedule)
        bits = []
        for _ in range(schedule.count):
            bits.append(history.bits_of(history.residual(features)))
            history.add(bits[-1])
        return bits

    def decode(self, features: Tensor) -> Tensor:
        """Return images [B, 3, height, width], not clamped, of features [B, d, s H, s W]."""
        out: Tensor = self.decoder(features.to(next(self.parameters()).dtype))
        return out

    def train_forward(self, images: Tensor, schedule: ScaleSchedule) -> TokenizerOutput:
        """Encode, quantise with a straight-through gradient, decode, and measure the losses of the quantiser.

        The gradient takes the code of a residual for the residual itself, scaled to length 1; what earlier scales coded is
        constant in it. Losses are means over scales; see `.entropy` for what they are and that they are ours.

        Args:
            images: [B, 3, height, width] in [-1, 1].
            schedule: K scales that end on the images' grid of tokens.

        Returns:
            codes: bits, bool [B, L_k, d_v]. code_loss: the entropy penalty. vectors: residuals of length 1 of all scales,
            [N, d]. used: int64 [2 d], how often bit j of a cell was 0 (at 2 j) and 1 (at 2 j + 1).
        """
        features = self.encode(images).float()
        history = self.history(images.shape[0], schedule)
        total = torch.zeros_like(features)
        bits, units, entropies, distances = [], [], [], []
        for scale in range(schedule.count):
            residual = history.residual(features)
            unit = F.normalize(residual, dim=1)
            bits.append(history.bits_of(residual))
            codes = history.codes_of(bits[-1], scale)
            total = total + history.enlarged(unit + (codes - unit).detach())
            history.add(bits[-1])
            entropies.append(entropy_penalty(unit, sharpness=self.config.sharpness, diversity=self.config.diversity))
            distances.append(commitment(unit, codes))
            units.append(unit.detach().flatten(2).transpose(1, 2).flatten(0, 1))
        vectors = torch.cat(units)
        ones = (vectors > 0).sum(0)
        return TokenizerOutput(
            reconstruction=self.decode(total),
            codes=bits,
            code_loss=torch.stack(entropies).mean(0).sum(),
            commit_loss=torch.stack(distances).mean(0).sum(),
            vectors=vectors,
            used=torch.stack([vectors.shape[0] - ones, ones], dim=1).flatten(),
        )
