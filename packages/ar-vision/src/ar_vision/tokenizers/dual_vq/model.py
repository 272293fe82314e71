"""A tokenizer with two branches behind one encoder, a codebook each, and one decoder for both.

Letters: B images, g x g cells, L = g², d dimension of a codebook, n_vis and n_sem codes, Cz latent channels.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError, DataError
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ..autoencoder import ConvDecoder, ConvTrunk, initialize_convolutions
from ..codebook import Codebook
from ..codebook_tokenizer import at_least_float32, cells, per_image
from ..tokenizer_output import DualTokenizerOutput, Lookup
from .config import DualVqTokenizerConfig
from .history import PairedHistory
from .paired import PairedCodebooks
from .transformer import Adapter, ResidualModule, initialize_transformer

__all__ = ["DualVqTokenizer"]


class Branch(nn.Module):
    """From the encoder's features to those that one codebook quantises: adapter, norm, SiLU, 3×3 and 1×1 convolution."""

    def __init__(self, config: DualVqTokenizerConfig) -> None:
        super().__init__()
        width, shape = config.autoencoder.widths[-1], config.adapter
        self.adapter = Adapter(width, config.grid**2, shape.layers, shape.heads)
        self.norm_out = nn.GroupNorm(config.autoencoder.norm_groups, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, config.autoencoder.latent_channels, 3, padding=1)
        self.quant_conv = nn.Conv2d(config.autoencoder.latent_channels, config.code_dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, g, g]` to `[B, d, g, g]`."""
        out: Tensor = self.quant_conv(self.conv_out(F.silu(self.norm_out(self.adapter(features)))))
        return out


class DualVqTokenizer(nn.Module):
    """The tokenizer of FQGAN-dual (arXiv 2411.16681) and, with residual modules, of GloTok (arXiv 2511.14184).

    A code is a pair, numbered (code of the first codebook) · (codes of the second) + (code of the second), so that what stores
    and generates codes sees one number a cell. The images of a code are those of its vectors Q plus what the residual modules make
    of them, R(Q); ``decode`` takes Q and adds it.

    Args:
        config: the shape.
    """

    kind: ClassVar[str] = "dual_vq"

    def __init__(self, config: DualVqTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvTrunk(config.autoencoder)
        self.branches = nn.ModuleDict({name: Branch(config) for name in config.sizes})
        metric = "cosine" if config.normalized else config.metric
        self.codebooks = PairedCodebooks(config.sizes, config.code_dim, metric=metric, unit_rows=config.normalized)
        residual = config.residual
        self.residuals = nn.ModuleDict(
            {}
            if residual is None
            else {
                name: ResidualModule(config.code_dim, config.grid**2, residual.width, residual.layers, residual.heads)
                for name in config.sizes
            }
        )
        self.post_quant_conv = nn.Conv2d(2 * config.code_dim, config.autoencoder.latent_channels, 1)
        self.decoder = ConvDecoder(config.autoencoder)

    @property
    def downsampling(self) -> int:
        """Pixels per cell, in each direction."""
        return self.encoder.config.downsampling

    @property
    def code_dim(self) -> int:
        """2d, of both vectors of a pair."""
        return self.codebooks.dim

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """Codes of the first and of the second codebook."""
        return self.codebooks.sizes

    @property
    def vocab_size(self) -> int:
        """Pairs that there are."""
        first, second = self.codebooks.sizes
        return first * second

    @property
    def named_codebooks(self) -> dict[str, Codebook]:
        """Both, by name."""
        return {name: self.codebooks[name] for name in self.codebooks.names}

    def split(self, codes: Tensor) -> dict[str, Tensor]:
        """Return the codes of each codebook of pairs int64 `[...]`."""
        return self.codebooks.split(codes)

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of both branches before quantisation, and before they are brought to unit length.

        Args:
            images: float `[B, 3, H, W]` in [-1, 1], of the one size that has g x g cells.

        Returns:
            `[B, 2d, g, g]` of the dtype of the weights.

        Raises:
            DataError: The images are of another shape or type.
        """
        trunk, grid = self.encoder(images), self.config.grid
        if trunk.shape[2:] != (grid, grid):
            side = grid * self.downsampling
            raise DataError(
                f"images of {images.shape[2]} x {images.shape[3]} pixels were given and the tokenizer has learned positions for "
                f"{grid} x {grid} codes: give images of {side} x {side}"
            )
        return torch.cat([self.branches[name](trunk) for name in self.codebooks.names], dim=1)

    @torch.no_grad()
    def quantize(self, features: Tensor, schedule: ScaleSchedule) -> list[Tensor]:
        """Return the pairs of features.

        Args:
            features: `[B, 2d, g, g]`, what ``encode`` returns.
            schedule: the one grid.

        Returns:
            One tensor int64 `[B, L]`.

        Raises:
            ConfigError: The schedule is of another grid, or of several.
        """
        self._require_one(schedule)
        found = {name: self.codebooks[name].nearest(cells(z)) for name, z in self._parts(at_least_float32(features))}
        return [self.codebooks.join(found)]

    def history(self, batch: int, schedule: ScaleSchedule) -> PairedHistory:
        """Return an empty history of ``batch`` rows.

        Raises:
            ConfigError: The schedule is of another grid, or of several.
        """
        self._require_one(schedule)
        return PairedHistory(self.codebooks, batch, schedule)

    def refine(self, features: Tensor) -> Tensor:
        """Return Q + R(Q) of quantised features Q, `[B, 2d, g, g]`; without residual modules, Q."""
        if not self.residuals:
            return features
        parts = zip(self.codebooks.names, features.chunk(2, dim=1))
        return torch.cat([q + self.residuals[name](q) for name, q in parts], dim=1)

    def decode(self, features: Tensor) -> Tensor:
        """Return the images of quantised features.

        Args:
            features: Q, `[B, 2d, g, g]`, as the ``features`` of a history are.

        Returns:
            `[B, 3, H, W]` of the dtype of the weights, about in [-1, 1] and not clamped.
        """
        return self._images(self.refine(features.to(self.post_quant_conv.weight.dtype)))

    def train_forward(self, images: Tensor, schedule: ScaleSchedule) -> DualTokenizerOutput:
        """Encode, quantise, refine and decode images with gradients.

        The quantiser runs in float32 or better, also under autocast. Losses of the quantiser are those of both codebooks together.
        The residual loss compares sg[Z] with sg[Q] + R(sg[Q]) in the space that the quantiser works in, and trains R alone (with
        ``residual.stop_gradient`` false, R's input too).

        Args:
            images: `[B, 3, H, W]` in [-1, 1], as ``encode`` takes them.
            schedule: the one grid.

        Raises:
            DataError: The images are of another shape or type.
            ConfigError: The schedule is of another grid, or of several.
        """
        self._require_one(schedule)
        size, residual = schedule.sizes[0], self.config.residual
        encoded = at_least_float32(self.encode(images))
        code_loss = commit_loss = residual_loss = encoded.new_zeros(())
        lookups: dict[str, Lookup] = {}
        refined = []
        for name, z in self._parts(encoded):
            codebook, vectors = self.codebooks[name], cells(z.detach())
            codes = codebook.nearest(vectors)
            code = codebook.lookup_map(codes, size)
            code_loss = code_loss + per_image(code, z.detach())
            commit_loss = commit_loss + per_image(code.detach(), z)
            quantized = z + (code - z).detach()
            if residual is not None:
                lost = self.residuals[name](quantized.detach() if residual.stop_gradient else quantized)
                residual_loss = residual_loss + per_image(z.detach(), quantized.detach() + lost)
                quantized = quantized + lost
            refined.append(quantized)
            lookups[name] = Lookup(codes=[codes], vectors=vectors.flatten(0, 1), used=codebook.count(codes))
        return DualTokenizerOutput(
            reconstruction=self._images(torch.cat(refined, dim=1)),
            codes=[self.codebooks.join({name: lookup.codes[0] for name, lookup in lookups.items()})],
            code_loss=code_loss,
            commit_loss=commit_loss,
            residual_loss=residual_loss,
            lookups=lookups,
        )

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights afresh for training from scratch: convolutions, transformers, codebooks; residual modules give zero.

        Entries of a codebook of n codes are uniform in ±1/n; at unit length where they are used so. Residual modules are drawn last, so
        that tokenizers with and without them start from the same weights.

        Args:
            generator: of the device that the tokenizer is on.
        """
        initialize_convolutions(self, generator)
        initialize_transformer(self.branches, generator)
        for codebook in self.named_codebooks.values():
            bound = 1 / len(codebook.weight)
            nn.init.uniform_(codebook.weight, -bound, bound, generator=generator)
            if self.config.normalized:
                codebook.weight.copy_(F.normalize(codebook.weight, dim=-1))
        initialize_transformer(self.residuals, generator)

    def _parts(self, features: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The features `[B, d, g, g]` of each branch as its quantiser sees them."""
        for name, z in zip(self.codebooks.names, features.chunk(2, dim=1)):
            yield name, F.normalize(z, dim=1) if self.config.normalized else z

    def _images(self, refined: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.post_quant_conv(refined.to(self.post_quant_conv.weight.dtype)))
        return out

    def _require_one(self, schedule: ScaleSchedule) -> None:
        grid = self.config.grid
        if schedule.sizes != ((grid, grid),):
            raise ConfigError(
                f"the scales {schedule} were given and a dual_vq has the one grid {grid} x {grid}: give [{grid}]"
            )
