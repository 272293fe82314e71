"""What a cell's two codes are read in by, and predicted by.

Source: FQGAN (arXiv 2411.16681), section 3.4, and its published code.
"""

import torch
from ar_core.cache import WindowedKVCache
from ar_core.linear_head import LinearHead
from torch import Tensor, nn

from ...decoding.raster_mask import raster_mask
from ...tokenizers.dual_vq.paired import parted
from ..llamagen.layers import Layer, RmsNorm
from .config import FarConfig

__all__ = ["FactorisedHead", "PairEmbedding"]


class PairEmbedding(nn.Module):
    """The input of a pair: a linear map of both embeddings side by side.

    Args:
        config: sizes.
    """

    def __init__(self, config: FarConfig) -> None:
        super().__init__()
        first, second = config.vocab_sizes
        self.second_codes = second
        self.first = nn.Embedding(first, config.dim)
        self.second = nn.Embedding(second, config.dim)
        self.join = nn.Linear(2 * config.dim, config.dim, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        """`[R, n, C]` of pairs int64 `[R, n]`."""
        first, second = parted(codes, self.second_codes)
        out: Tensor = self.join(torch.cat([self.first(first), self.second(second)], dim=-1))
        return out


class FactorisedHead(nn.Module):
    """Causal layers over two places: the cell's hidden state, which predicts the first code, and that code, which predicts the second.

    The number of layers and what runs through them are FQGAN's. That the two places do not rotate, as the mask tells them apart, is ours.

    Args:
        config: sizes.
    """

    def __init__(self, config: FarConfig) -> None:
        super().__init__()
        self.shape = config.trunk
        self.layers = nn.ModuleList(Layer(self.shape) for _ in range(config.head_layers))
        self.norm = RmsNorm(config.dim, eps=config.norm_eps)
        first, second = config.vocab_sizes
        self.first_output = nn.Linear(config.dim, first, bias=False)
        self.second_output = nn.Linear(config.dim, second, bias=False)

    @property
    def losses(self) -> tuple[LinearHead, LinearHead]:
        """The output of each place as losses take it."""
        return LinearHead(self.first_output.weight), LinearHead(self.second_output.weight)

    def new_cache(self, rows: int) -> WindowedKVCache:
        """Return an empty cache for the two places of one cell."""
        weight, shape = self.norm.weight, self.shape
        return WindowedKVCache(len(self.layers), rows, shape.heads, shape.head_dim, 2, weight.dtype, weight.device)

    def forward(self, x: Tensor, *, start: int = 0, cache: WindowedKVCache | None = None) -> Tensor:
        """Run the layers over places of each cell.

        Args:
            x: `[N, n, C]`: hidden states of N cells, embeddings of their first codes, or both.
            start: the first of the places, 0 or 1.
            cache: holds place 0 where `start` is 1; its window must be set.

        Returns:
            `[N, n, C]`, ready for the outputs.
        """
        count = x.shape[1]
        table = torch.zeros(count, self.shape.head_dim // 2, 2, device=x.device)
        table[..., 0] = 1
        mask = raster_mask(start, count, None, x.device)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, mask, cache, index)
        out: Tensor = self.norm(x)
        return out
