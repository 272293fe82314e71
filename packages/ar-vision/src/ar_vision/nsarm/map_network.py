"""The transformation network M: features of the LQ image to the residuals of the first scales, all at once."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Generator, Tensor, nn

from .config import MapConfig
from .layout import to_maps

__all__ = ["MapNetwork"]

BASE = 100.0
"""Ratio of the longest to the shortest wave of the sinusoids of positions, whose maps have some dozens of places a side."""


class MapNetwork(nn.Module):
    """A shared stem of convolutions, then for each scale two more, pooling to its grid, a post-norm transformer, and two linear maps.

    arXiv 2510.00820 (overview figure; shapes from its code). There is no way from one scale to another. Norms over whole maps have
    weights for every place, so that M takes one size of images, and knows no places otherwise.

    Letters: B images, d channels, G grid of the LQ features, S_k side of scale k in latent cells, D_s width of a scale.

    Args:
        config: the shape.
    """

    def __init__(self, config: MapConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.stem
        self.stem = nn.Sequential(
            *_convolution(config, config.channels, first),
            nn.GELU(),
            *_convolution(config, first, second),
            nn.GELU(),
            *_convolution(config, second, config.channels),
            nn.GELU(),
        )
        self.branches = nn.ModuleList(_Branch(config, scale) for scale in range(config.count))

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw all weights afresh, uniform in ±1/√(fan-in), and of attention as Glorot and Bengio do: torch's own choices.

        With ``skip`` (ours) the last maps are 0, so that the first sums are what M's outputs are added to. The first step moves these maps
        alone, and all that follow move everything.
        """
        for part in self.modules():
            if isinstance(part, nn.MultiheadAttention):
                nn.init.xavier_uniform_(cast(Tensor, part.in_proj_weight), generator=generator)
                nn.init.zeros_(cast(Tensor, part.in_proj_bias))
            elif isinstance(part, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(part.weight[0].numel())
                nn.init.uniform_(part.weight, -bound, bound, generator=generator)
                if part.bias is not None:
                    nn.init.uniform_(part.bias, -bound, bound, generator=generator)
            elif isinstance(part, nn.LayerNorm | nn.GroupNorm):
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        if self.config.skip:
            for branch in self.branches:
                last = cast(nn.Linear, cast(_Branch, branch).output[-1])
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return M(G_lq), [B, S_k², d] of each scale; what they stand for is the layout's matter.

        Args:
            features: of the tokenizer, unquantised, of the LQ image: [B, d, G, G].

        Raises:
            DataError: they are of another size.
        """
        expected = (self.config.channels, self.config.grid, self.config.grid)
        if features.ndim != 4 or features.shape[1:] != expected:
            raise DataError(
                f"features of shape {list(features.shape[1:])} were given and the transformation network takes {list(expected)}: "
                "give images of the one size that it is for, or cut larger ones into tiles"
            )
        shared = self.stem(features)
        return [branch(shared) for branch in self.branches]

    def residuals(self, features: Tensor) -> list[Tensor]:
        """Return M's outputs as the maps that they stand for, float32 [B, d, S_k, S_k] of each scale.

        They are the residuals of the first m scales, or with ``skip`` what is added to those of the LQ image (`predicted_residuals`).
        """
        config = self.config
        return [
            to_maps(tokens.float(), (size, size), config.layout) for size, tokens in zip(config.sizes, self(features))
        ]


class _Branch(nn.Module):
    def __init__(self, config: MapConfig, scale: int) -> None:
        super().__init__()
        width, half = config.widths[scale], config.widths[scale] // 2
        self.size, self.positions = config.sizes[scale], config.positions
        self.features = nn.Sequential(
            *_convolution(config, config.channels, half), nn.GELU(), *_convolution(config, half, width), nn.GELU()
        )
        layer = nn.TransformerEncoderLayer(
            width, config.heads[scale], 4 * width, dropout=config.dropout, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers[scale], enable_nested_tensor=False)
        self.output = nn.Sequential(
            nn.Linear(width, half), nn.LayerNorm(half), nn.GELU(), nn.Linear(half, config.channels)
        )

    def forward(self, shared: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(self.features(shared), self.size)
        tokens = pooled.flatten(2).transpose(1, 2)
        if self.positions:
            tokens = tokens + _positions(self.size, tokens.shape[2]).to(tokens)
        out: Tensor = self.output(self.encoder(tokens))
        return out


def _convolution(config: MapConfig, before: int, behind: int) -> tuple[nn.Module, nn.Module]:
    norm: nn.Module = nn.GroupNorm(1, behind)
    if config.norm == "map":
        norm = nn.LayerNorm([behind, config.grid, config.grid])
    return nn.Conv2d(before, behind, 3, padding=1), norm


def _positions(side: int, width: int) -> Tensor:
    """Sinusoids of row and column, [side², width]."""
    frequencies = 1 / BASE ** (torch.arange(width // 4) / (width // 4))
    angles = torch.outer(torch.arange(side).float(), frequencies)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
