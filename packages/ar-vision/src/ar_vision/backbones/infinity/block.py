"""One layer: attention over the scales, attention over the text, feed-forward.

Source: Infinity (arXiv 2412.04431), section 3, and its published code.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Tensor, nn

from ..adaln import AdaFeedForward, ConditionOffset, ScaleAttention, modulate
from .config import InfinityConfig

__all__ = ["CrossAttention", "InfinityBlock"]


class CrossAttention(nn.Module):
    """Attention of image tokens over the text, with bias on queries and values, without positions or normalised queries.

    Computed in the dtype of its inputs; the published code rounds float32 ones to bfloat16 here, for its kernel.

    Args:
        width: C.
        heads: H.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the text [R, M, C], [R, H, M, D] each: the same for all scales of a generation."""
        bias = torch.cat([torch.zeros_like(self.v_bias), self.v_bias])
        packed = F.linear(memory, self.kv.weight, bias).unflatten(-1, (2, self.heads, -1))
        k, v = packed.permute(2, 0, 3, 1, 4).unbind()
        return k, v

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Mask | None) -> Tensor:
        """Let the tokens of the image look at the text.

        Args:
            x: image tokens, [R, n, C].
            keys_values: of the text, [R, H, M, D] each, as :meth:`keys_values` gives them.
            mask: over the text.

        Returns:
            [R, n, C].
        """
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = keys_values
        out: Tensor = self.proj(attend(q, k.to(q.dtype), v.to(q.dtype), mask).transpose(1, 2).flatten(2))
        return out


class InfinityBlock(nn.Module):
    """x + g1 SA(mod1(x)), then x + CA(LN(x)), then x + g2 FFN(mod2(x)).

    The six modulations are shared by all layers (one linear map of the condition) plus a table of this layer.

    Args:
        config: C, H and the feed-forward.
        layer: its number, which is its place in the cache.
    """

    def __init__(self, config: InfinityConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.modulation = ConditionOffset(config.width, 6)
        self.attention = ScaleAttention(config.width, config.heads)
        self.cross_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.cross = CrossAttention(config.width, config.heads)
        self.feed_forward = AdaFeedForward(config.width, config.feed_forward)

    def forward(
        self,
        x: Tensor,
        shared: Tensor,
        *,
        keys_values: tuple[Tensor, Tensor],
        text_mask: Mask | None,
        rotate: Callable[[Tensor], Tensor],
        cache: WindowedKVCache | None,
        mask: Mask | None,
    ) -> Tensor:
        """Return [R, n, C].

        Args:
            x: [R, n, C].
            shared: modulations that all layers have, [R, 1, 6, C].
            keys_values: of the text, for this layer, [R, H, M, D] each.
            text_mask: over the text.
            rotate: turns queries and keys by their positions.
            cache: of the scales before; None with a mask over all scales.
            mask: over the tokens of the image.
        """
        gate1, gate2, scale1, scale2, shift1, shift2 = self.modulation(shared).unbind(2)
        attended = self.attention(modulate(x, scale1, shift1), layer=self.layer, cache=cache, mask=mask, rotate=rotate)
        x = x + gate1 * attended
        x = x + self.cross(self.cross_norm(x), keys_values, text_mask)
        out: Tensor = x + gate2 * self.feed_forward(modulate(x, scale2, shift2))
        return out
