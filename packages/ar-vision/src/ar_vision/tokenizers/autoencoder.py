"""The convolutional encoder and decoder that every tokenizer of this package has, in one configurable layout.

The layout is that of latent diffusion's VQ-f16 (arXiv 2112.10752). VAR, FlexVAR and LlamaGen have self-attention in it, Infinity
has none; else they differ in widths, depths and the names of their published weights. Modules are indexed by resolution
level, 0 the finest, in the encoder and in the decoder.

Letters: B batch, H and W pixels, h and w latent cells, C channels of a level, Cz latent channels.
"""

import math

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor, nn

from .autoencoder_config import AutoencoderConfig

__all__ = ["AutoencoderConfig", "ConvDecoder", "ConvEncoder", "ConvTrunk", "initialize_convolutions"]


class ConvTrunk(nn.Module):
    """Images to the features of the coarsest level, before they are brought to latent channels.

    Args:
        config: the shape.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = _conv3(3, widths[0])
        self.levels = nn.ModuleList(
            _EncoderLevel(config, before, width, last=level == len(widths) - 1)
            for level, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.middle = _Middle(config)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: float `[B, 3, H, W]` in [-1, 1], H and W multiples of the downsampling.

        Returns:
            Features `[B, C, h, w]` of the dtype of the weights.

        Raises:
            DataError: The images are of another shape or type.
        """
        self._check(images)
        x = self.conv_in(images.to(self.conv_in.weight.dtype))
        for level in self.levels:
            x = level(x)
        out: Tensor = self.middle(x)
        return out

    def _check(self, images: Tensor) -> None:
        unit = self.config.downsampling
        fits = images.ndim == 4 and images.shape[1] == 3 and all(side and side % unit == 0 for side in images.shape[2:])
        if not fits:
            raise DataError(
                f"the images have shape {list(images.shape)}; the tokenizer takes [batch, 3, height, width] with height "
                f"and width multiples of {unit}: resize or crop them"
            )
        if not images.is_floating_point():
            raise DataError(f"the images are {images.dtype}; the tokenizer takes floating-point values in [-1, 1]")


class ConvEncoder(ConvTrunk):
    """Images to latent features.

    Args:
        config: the shape.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.norm_out = _norm(config, config.widths[-1])
        self.conv_out = _conv3(config.widths[-1], config.latent_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Latent features of images, as the trunk takes them: `[B, Cz, h, w]`."""
        out: Tensor = self.conv_out(F.silu(self.norm_out(super().forward(images))))
        return out


class ConvDecoder(nn.Module):
    """Latent features to images.

    Args:
        config: the shape.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = _conv3(config.latent_channels, widths[-1])
        self.middle = _Middle(config)
        self.levels = nn.ModuleList(
            _DecoderLevel(config, before, width, finest=level == 0, coarsest=level == len(widths) - 1)
            for level, (before, width) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True))
        )
        self.norm_out = _norm(config, widths[0])
        self.conv_out = _conv3(widths[0], 3)

    @property
    def last_layer(self) -> Tensor:
        """Weight `[3, C, 3, 3]` of the last convolution, where adaptive loss weights compare gradients."""
        return self.conv_out.weight

    def forward(self, latents: Tensor) -> Tensor:
        """Images of latent features `[B, Cz, h, w]`: `[B, 3, H, W]`, about in [-1, 1] and not clamped."""
        x = self.middle(self.conv_in(latents))
        for level in reversed(self.levels):
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class ResidualBlock(nn.Module):
    """Twice (norm, SiLU, 3×3 convolution), added to the input; a 1×1 convolution carries the input where widths differ."""

    def __init__(self, config: AutoencoderConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = _norm(config, in_channels)
        self.conv1 = _conv3(in_channels, out_channels)
        self.norm2 = _norm(config, out_channels)
        self.conv2 = _conv3(out_channels, out_channels)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, C, h, w]` to `[B, C', h, w]`."""
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner)))
        out: Tensor = self.shortcut(x) + inner
        return out


class SpatialAttention(nn.Module):
    """Single-head self-attention over all cells, scaled by 1/√C, added to the input."""

    def __init__(self, config: AutoencoderConfig, channels: int) -> None:
        super().__init__()
        self.norm = _norm(config, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, C, h, w]` to the same shape."""
        # [B, 1 head, cells, C] each
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.out(seen[:, 0].transpose(1, 2).reshape(x.shape))
        return out


class _Middle(nn.Module):
    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width = config.widths[-1]
        self.block1 = ResidualBlock(config, width, width)
        self.attention = SpatialAttention(config, width) if config.attention else nn.Identity()
        self.block2 = ResidualBlock(config, width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block2(self.attention(self.block1(x)))
        return out


class _Level(nn.Module):
    def __init__(self, config: AutoencoderConfig, before: int, width: int, *, blocks: int, coarsest: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(config, before if index == 0 else width, width) for index in range(blocks)
        )
        attentions = blocks if coarsest and config.attention else 0
        self.attentions = nn.ModuleList(SpatialAttention(config, width) for _ in range(attentions))

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x)
            if self.attentions:
                x = self.attentions[index](x)
        return x


class _EncoderLevel(_Level):
    def __init__(self, config: AutoencoderConfig, before: int, width: int, *, last: bool) -> None:
        super().__init__(config, before, width, blocks=config.blocks_per_level, coarsest=last)
        self.downsample = None if last else nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        # Padded on two sides only: cell (i, j) is centred on pixel (2i + 1, 2j + 1), as in the published weights.
        return x if self.downsample is None else self.downsample(F.pad(x, (0, 1, 0, 1)))


class _DecoderLevel(_Level):
    def __init__(self, config: AutoencoderConfig, before: int, width: int, *, finest: bool, coarsest: bool) -> None:
        super().__init__(config, before, width, blocks=config.blocks_per_level + 1, coarsest=coarsest)
        self.upsample = None if finest else _conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x if self.upsample is None else self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def initialize_convolutions(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all convolutions below a module afresh, and reset its normalisations to ones and zeros.

    Weights and biases are uniform in ±1/√(fan-in), torch's own choice, from an explicit generator in the order of
    ``module.modules()``.

    Args:
        module: The module, changed in place.
        generator: of the device that the module is on.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_uniform_(part.weight, a=math.sqrt(5), generator=generator)
            if part.bias is not None:
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        elif isinstance(part, nn.GroupNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def _conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _norm(config: AutoencoderConfig, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
