"""The block of VAR and FlexVAR.

Source: VAR (arXiv 2404.02905), section 3.2, and its published code; FlexVAR (arXiv 2502.20313).
"""

from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Tensor, nn

from ..adaln import AdaFeedForward, ConditionLinear, ConditionOffset, DropPath, ScaleAttention, modulate
from .config import ScaleTransformerConfig

__all__ = ["ScaleBlock", "drop_rate"]


def drop_rate(config: ScaleTransformerConfig, layer: int) -> float:
    """Return the rate of stochastic depth of a block: from 0 in the first to ``drop_path`` in the last."""
    return config.drop_path * layer / max(config.depth - 1, 1)


class ScaleBlock(nn.Module):
    """Attention and feed-forward, each between a modulated layer norm and a gate.

    x + drop(gamma1 attn(LN(x)(1 + scale1) + shift1)), then the same with the feed-forward layer and the other three.

    Args:
        config: shape of the transformer.
        layer: index of the block, 0 to d-1.
    """

    def __init__(self, config: ScaleTransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention = ScaleAttention(config.width, config.heads, l2_norm=config.l2_norm)
        self.ffn = AdaFeedForward(config.width, config.ffn_ratio * config.width)
        self.drop_path = DropPath(drop_rate(config, layer))
        self.modulation = (ConditionOffset if config.shared_adaln else ConditionLinear)(config.width, 6)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        *,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
        between: Tensor | None = None,
    ) -> Tensor:
        """Return [R, n, C].

        Args:
            x: [R, n, C].
            condition: [R, C]; with shared adaLN the shared modulation [R, 1, 6, C].
            cache: holds the earlier scales.
            mask: over the pass, where there is no cache.
            between: added behind the attention, [R, n, C]; None: nothing.
        """
        gate1, gate2, scale1, scale2, shift1, shift2 = self.modulation(condition).unbind(2)
        attended = self.attention(modulate(x, scale1, shift1), layer=self.layer, cache=cache, mask=mask)
        x = x + self.drop_path(attended * gate1)
        if between is not None:
            x = x + between
        out: Tensor = x + self.drop_path(self.ffn(modulate(x, scale2, shift2)) * gate2)
        return out
