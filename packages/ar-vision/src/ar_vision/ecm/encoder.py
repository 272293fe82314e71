"""From a control map to one vector for each token of each scale.

Letters: B images, C width of the base, E channels of the encoder, H x W pixels, h_k x w_k and L_k tokens of scale k of K.

Source: ECM (arXiv 2510.05610) for the ViT, CAR (arXiv 2410.04671) for the convolutions.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.errors import ConfigError
from torch import Generator, Tensor, nn

from ..backbones.adaln import initialize_linear
from ..scales import ScaleSchedule
from .config import EncoderConfig

__all__ = ["ControlConvs", "ControlEncoder", "ControlViT", "require_stages", "resized"]


def resized(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Return maps [B, E, h, w] at another size, by ``area``, or by ``bilinear`` or ``bicubic`` kernels as wide as a pixel of the smaller
    grid, without aliasing; those of the size as they are."""
    if tuple(maps.shape[2:]) == size:
        return maps
    if mode == "area":
        return F.interpolate(maps, size=size, mode="area")
    return F.interpolate(maps, size=size, mode=mode, align_corners=False, antialias=True)


class _Block(nn.Module):
    """A pre-norm transformer block over all patches."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        x = x + self.proj(attend(q, k, v, None, scale=q.shape[-1] ** -0.5).transpose(1, 2).flatten(2))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


class ControlViT(nn.Module):
    """A ViT without class token: patches with learned positions, pre-norm blocks, a last layer norm.

    Args:
        config: patch, depth, width, heads.
        image_size: H = W of the maps.

    Raises:
        ConfigError: patches do not tile the maps.
    """

    def __init__(self, config: EncoderConfig, image_size: int) -> None:
        super().__init__()
        if image_size % config.patch:
            raise ConfigError(
                f"encoder.patch is {config.patch}, which does not divide the {image_size} pixels of an image: choose a divisor"
            )
        self.side = image_size // config.patch
        self.patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.positions = nn.Parameter(torch.zeros(1, self.side**2, config.width))
        self.blocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, maps: Tensor) -> Tensor:
        """Return [B, E, h, w] of maps [B, 3, H, W] in [-1, 1]."""
        x = self.patches(maps).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x).transpose(1, 2).unflatten(2, (self.side, self.side))
        return out

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights: N(0, 0.02), cut off at two of it."""
        initialize_linear(self, 0.02, generator)
        for weights in (self.patches.weight, self.positions):
            nn.init.trunc_normal_(weights, std=0.02, generator=generator)
        assert self.patches.bias is not None
        nn.init.zeros_(self.patches.bias)


def require_stages(channels: Sequence[int], downsampling: int) -> None:
    """Refuse convolutions that do not bring pixels to tokens.

    Raises:
        ConfigError: every stage halves the side, and a token has another number of pixels.
    """
    if 2 ** (len(channels) - 1) != downsampling:
        raise ConfigError(
            f"channels has {len(channels) - 1} stages that halve the side and a token has {downsampling} pixels: give as many stages as "
            "bring one to the other"
        )


class ControlConvs(nn.Module):
    """CAR's stack of 3 x 3 convolutions: in, two a stage of which the second halves the side, out; SiLU between them.

    Args:
        channels: of the first level and behind each stage.
        out: E.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for before, after in pairwise(channels):
            self.blocks.append(nn.Conv2d(before, before, 3, padding=1))
            self.blocks.append(nn.Conv2d(before, after, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(channels[-1], out, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return [B, E, h, w] of maps [B, 3, H, W]; every stage halves the sides."""
        x = F.silu(self.conv_in(maps))
        for block in self.blocks:
            x = F.silu(block(x))
        out: Tensor = self.conv_out(x)
        return out

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights whose outputs have about the variance of their inputs."""
        for part in (self.conv_in, *self.blocks, self.conv_out):
            assert isinstance(part, nn.Conv2d)
            assert part.bias is not None
            nn.init.kaiming_normal_(part.weight, generator=generator)
            nn.init.zeros_(part.bias)

    def of_scales(self, maps: Tensor, sizes: Sequence[tuple[int, int]], downsampling: int, mode: str) -> list[Tensor]:
        """Run over the maps at the pixels of every scale: K tensors [B, E, h_k, w_k].

        Maps are resized as PIL resizes pictures, along x and then along y, each time cut off at black and white: bicubic kernels overshoot
        at edges.

        Args:
            maps: [B, 3, H, W] in [-1, 1].
            sizes: (h_k, w_k) of the scales.
            downsampling: pixels of a token.
            mode: of `resized`.
        """
        grids = []
        for height, width in ((h * downsampling, w * downsampling) for h, w in sizes):
            narrow = resized(maps, (maps.shape[2], width), mode).clamp(-1, 1)
            grids.append(self(resized(narrow, (height, width), mode).clamp(-1, 1)))
        return grids


class ControlEncoder(nn.Module):
    """r_k: features of a control map at every scale (section 3.2 of the method).

    Args:
        config: which encoder.
        width: C.
        schedule: K scales of the base, the last of which covers the image.
        image_size: H = W of maps.
        code_dim: channels of the tokenizer's features, for ``latent``.

    Raises:
        ConfigError: encoder, image and scales do not fit together.
    """

    def __init__(
        self, config: EncoderConfig, width: int, schedule: ScaleSchedule, image_size: int, code_dim: int
    ) -> None:
        super().__init__()
        self.config, self.schedule, self.image_size = config, schedule, image_size
        self.downsampling = image_size // schedule.height
        self.net: ControlViT | ControlConvs | None = None
        channels = {"vit": config.width, "conv": width, "latent": code_dim, "pixels": 3}[config.kind]
        if config.kind == "vit":
            self.net = ControlViT(config, image_size)
        elif config.kind == "conv":
            require_stages(config.channels, self.downsampling)
            self.net = ControlConvs(config.channels, width)
        self.proj = nn.Linear(channels, width)
        self.scale_embed = nn.Parameter(torch.zeros(schedule.count, width))

    def forward(self, maps: Tensor, scales: int | None = None) -> Tensor:
        """Return r [B, L', C] of the first scales.

        Args:
            maps: [B, 3, H, W] in [-1, 1]; of ``latent`` the tokenizer's features [B, Cv, h, w] of them.
            scales: how many; None: all.
        """
        sizes = self.schedule.sizes[:scales]
        if isinstance(self.net, ControlConvs):
            grids = self.net.of_scales(maps, sizes, self.downsampling, self.config.resize)
        else:
            grid = maps if self.net is None else self.net(maps)
            grids = [resized(grid, size, self.config.resize) for size in sizes]
        tokens = [self.proj(one.flatten(2).transpose(1, 2)) + self.scale_embed[k] for k, one in enumerate(grids)]
        return torch.cat(tokens, dim=1)

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw fresh weights; scale embeddings begin at zero."""
        if self.net is not None:
            self.net.initialize(generator)
        nn.init.trunc_normal_(self.proj.weight, std=self.proj.in_features**-0.5, generator=generator)
        nn.init.zeros_(self.proj.bias)
        nn.init.zeros_(self.scale_embed)
