"""What the transformer makes of texts.

Source: Infinity (arXiv 2412.04431) and its published code.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.masks import Mask, Tokens, padding
from torch import Tensor, nn

from ...text.text import Text
from .config import InfinityConfig

__all__ = ["TextCondition", "TextProjection", "text_mask"]


@dataclass(frozen=True)
class TextCondition:
    """What the transformer sees of R texts.

    Attributes:
        pooled: the condition, [R, C], from which the start token and all modulations come.
        memory: what cross-attention reads, [R, M, C].
        valid: bool [R, M].
    """

    pooled: Tensor
    memory: Tensor
    valid: Tensor


def text_mask(valid: Tensor, queries: int) -> Mask | None:
    """Return the mask of cross-attention: every query sees the tokens of its own text; None if there is no padding.

    Args:
        valid: bool [R, M]; looked at on the host.
        queries: n.
    """
    if bool(valid.all()):
        return None
    return Mask(padding(), Tokens(position=torch.arange(queries, device=valid.device)), Tokens(valid=valid))


class TextProjection(nn.Module):
    """Text features to the condition (attention pooling by one learned query) and to the memory of cross-attention.

    Args:
        config: Ct, C and the heads of the pooling.
    """

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        width, heads = config.width, config.pooling_heads
        self.norm = nn.RMSNorm(config.text_width, eps=1e-6)
        self.query = nn.Parameter(torch.empty(1, heads, width // heads))
        self.kv = nn.Linear(config.text_width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)
        self.memory = nn.Sequential(
            nn.Linear(config.text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )

    def forward(self, text: Text) -> TextCondition:
        """Return the condition of R texts, in the dtype of the weights."""
        x = self.norm(text.features.to(self.kv.weight.dtype))
        heads = self.query.shape[1]
        bias = torch.cat([torch.zeros_like(self.v_bias), self.v_bias])
        k, v = F.linear(x, self.kv.weight, bias).unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        query = self.query[:, :, None].to(k.dtype).expand(text.rows, -1, -1, -1)
        pooled = attend(query, k, v, text_mask(text.valid, 1))
        return TextCondition(self.proj(pooled.flatten(1)), self.memory(x), text.valid)
