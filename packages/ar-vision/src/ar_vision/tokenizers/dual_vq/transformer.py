"""Transformers over the cells of an image: the adapters in front of a quantiser, and the residual modules behind it.

Letters: B images, C width, g x g cells, L = g² of them.

Source: GloTok (arXiv 2511.14184); layers after ViT (arXiv 2010.11929).
"""

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from torch import Tensor, nn

__all__ = ["Adapter", "Block", "ResidualModule", "initialize_transformer"]


class Block(nn.Module):
    """A pre-norm layer: LayerNorm, multi-head attention over all cells, LayerNorm, GELU feed-forward of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, L, C]` to the same."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(attend(q, k, v, None).transpose(1, 2).flatten(2))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return out


class Adapter(nn.Module):
    """Features of the encoder to those of one branch: learned positions, LayerNorm, blocks, LayerNorm (arXiv 2411.16681).

    Args:
        width: C.
        cells: L.
        layers: blocks.
        heads: of a block.
    """

    def __init__(self, width: int, cells: int, layers: int, heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(cells, width))
        self.norm_in = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """`[B, C, g, g]` to the same."""
        x = self.norm_in(features.flatten(2).transpose(1, 2) + self.positions)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm_out(x).transpose(1, 2).reshape(features.shape)
        return out


class ResidualModule(nn.Module):
    """R: from quantised features to what quantisation took from them (arXiv 2511.14184, equation 10).

    Its output is zero when it is initialised: training starts as that of the tokenizer without it.

    Args:
        dim: d of the features.
        cells: L.
        width: C.
        layers: blocks.
        heads: of a block.
    """

    def __init__(self, dim: int, cells: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.input = nn.Linear(dim, width)
        self.positions = nn.Parameter(torch.zeros(cells, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.output = nn.Linear(width, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Quantised features `[B, d, g, g]` to what is to be added to them, the same shape and dtype."""
        x = self.input(features.flatten(2).transpose(1, 2)) + self.positions
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.output(x).transpose(1, 2).reshape(features.shape).to(features.dtype)
        return out


@torch.no_grad()
def initialize_transformer(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of an adapter or residual module afresh; the output of a residual module becomes zero.

    Matrices are normal with standard deviation 1 / sqrt(fan-in), positions 0.02; biases are zero.

    Args:
        module: changed in place.
        generator: of its device.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.normal_(0.0, part.in_features**-0.5, generator=generator)
            part.bias.zero_()
        elif isinstance(part, nn.LayerNorm):
            part.weight.fill_(1.0)
            part.bias.zero_()
        if isinstance(part, (Adapter, ResidualModule)):
            part.positions.normal_(0.0, 0.02, generator=generator)
    for part in module.modules():
        if isinstance(part, ResidualModule):
            part.output.weight.zero_()
