"""One layer of LlamaGen: RMS norm, attention, RMS norm, SwiGLU.

Source: LlamaGen (arXiv 2406.06525), section 2.2, after Llama (arXiv 2302.13971).
"""

from __future__ import annotations

import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Tensor, nn

from .config import LlamaGenConfig
from .rotary import rotate

__all__ = ["Attention", "FeedForward", "Layer", "RmsNorm"]


class RmsNorm(nn.RMSNorm):
    """RMS norm over C channels, computed in float32; the gain multiplies what is back in the dtype of the input."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to the same."""
        return F.rms_norm(x.float(), self.normalized_shape, eps=self.eps).type_as(x) * self.weight


class Attention(nn.Module):
    """Multi-head attention of a layer; no biases.

    Args:
        config: sizes.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(self, x: Tensor, table: Tensor, mask: Mask | None, cache: WindowedKVCache | None, layer: int) -> Tensor:
        """Let tokens look at each other, and at what the cache holds.

        Args:
            x: [R, n, C].
            table: rotary table of the n places, [n, D/2, 2].
            mask: who sees whom; None: everybody sees everything.
            cache: of the tokens before; None: there are none.
            layer: number of the layer in the cache.

        Returns:
            [R, n, C].
        """
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        (q, k), v = rotate(heads[:2], table), heads[2]
        if cache is not None:
            k, v = cache.update(layer, k, v)
        out: Tensor = self.dropout(self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2)))
        return out


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) · up x); no biases.

    Args:
        config: sizes.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.up = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.down = nn.Linear(config.ffn_dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[R, n, C]` to the same."""
        out: Tensor = self.dropout(self.down(F.silu(self.gate(x)) * self.up(x)))
        return out


class Layer(nn.Module):
    """A pre-norm layer.

    Args:
        config: sizes.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(config.dim, eps=config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RmsNorm(config.dim, eps=config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        table: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None,
        layer: int,
        between: Tensor | None = None,
    ) -> Tensor:
        """Run the layer.

        Args:
            x: [R, n, C].
            table: as :meth:`Attention.forward` takes it, [n, D/2, 2].
            mask: likewise.
            cache: likewise.
            layer: likewise.
            between: added behind the attention, [R, n, C]; None: nothing.

        Returns:
            [R, n, C].
        """
        x = x + self.attention(self.attention_norm(x), table, mask, cache, layer)
        if between is not None:
            x = x + between
        out: Tensor = x + self.ffn(self.ffn_norm(x))
        return out
