"""One adapter of ECM: attention of its own over image and control tokens, and a gated use of a feed-forward layer.

Source: ECM (arXiv 2510.05610), from its abstract and published reviews; what these leave open is ours.
"""

import torch
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Tensor, nn

from ..backbones.adaln import AdaFeedForward, ConditionLinear, ConditionOffset, ScaleAttention, modulate
from ..backbones.var.config import VarConfig
from .config import EcmConfig

__all__ = ["EcmAdapter"]


class EcmAdapter(nn.Module):
    """Adapter j: from u, what image and control tokens say together, to what is added to the control state.

    a = gamma1 attn_j(LN(u)(1 + scale1) + shift1), f = gamma2 gate_j ffn(LN(u + a)(1 + scale2) + shift2); the state becomes c + a + f.

    Args:
        config: form of modulation and gates.
        base: shape of the base.
    """

    def __init__(self, config: EcmConfig, base: VarConfig) -> None:
        super().__init__()
        width = base.width
        self.attention = ScaleAttention(width, base.heads, l2_norm=base.l2_norm)
        self.modulation: nn.Module | None = None
        if config.adaln != "none":
            self.modulation = (ConditionLinear if config.adaln == "own" else ConditionOffset)(width, 6)
        self.ffn_gate = nn.Parameter(torch.ones(width))
        self.inject_gate = nn.Parameter(torch.zeros(1 if config.gate == "scalar" else width))
        self.tanh = config.gate == "tanh"

    def forward(
        self,
        u: Tensor,
        modulation: Tensor,
        ffn: AdaFeedForward,
        *,
        layer: int,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        """Return a + f, [R, n, C].

        Args:
            u: [R, n, C].
            modulation: condition [R, C], or what adapters share, [R, 1, 6, C]; unread where there is none.
            ffn: the feed-forward layer, shared or its own.
            layer: index in the cache.
            cache: holds the earlier scales.
            mask: over the pass, where there is no cache.
        """
        if self.modulation is None:
            zero, one = u.new_zeros(1, 1, u.shape[-1]), u.new_ones(1, 1, u.shape[-1])
            gate1, gate2, scale1, scale2, shift1, shift2 = one, one, zero, zero, zero, zero
        else:
            gate1, gate2, scale1, scale2, shift1, shift2 = self.modulation(modulation).unbind(2)
        a = self.attention(modulate(u, scale1, shift1), layer=layer, cache=cache, mask=mask) * gate1
        out: Tensor = a + ffn(modulate(u + a, scale2, shift2)) * gate2 * self.ffn_gate
        return out

    @property
    def injection(self) -> Tensor:
        """g_j, [C] or [1]."""
        return self.inject_gate.tanh() if self.tanh else self.inject_gate
