"""A batch of texts as features, and what a transformer makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from ar_core.attention import attend
from ar_core.errors import DataError
from ar_core.masks import Mask, Tokens, padding
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .config import InfinityConfig

__all__ = ["Text", "TextCondition", "TextProjection", "text_mask"]


@dataclass(frozen=True)
class Text:
    """R texts of different lengths, padded behind their ends.

    Attributes:
        features: float32 [R, M, Ct]; finite behind the ends.
        valid: bool [R, M], True where a text has a token.
    """

    features: Tensor
    valid: Tensor

    @classmethod
    def of(cls, texts: Sequence[Tensor]) -> "Text":
        """Pad features [n, Ct] of each text, n at least 1.

        Raises:
            DataError: there is no text, one is empty, or they differ in width.
        """
        if not texts or any(text.ndim != 2 or not len(text) for text in texts):
            given = [list(text.shape) for text in texts]
            raise DataError(
                f"text features of shapes {given} were given; give [tokens, width] each, at least one token"
            )
        widths = {text.shape[1] for text in texts}
        if len(widths) > 1:
            raise DataError(f"text features of widths {sorted(widths)} were given; take all from one encoder")
        lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
        features = pad_sequence([text.float() for text in texts], batch_first=True)
        return cls(features, torch.arange(features.shape[1], device=features.device) < lengths[:, None])

    @property
    def rows(self) -> int:
        """R."""
        return self.features.shape[0]

    def __add__(self, other: "Text") -> "Text":
        """Both batches, one behind the other, padded to the longer."""
        length = max(self.features.shape[1], other.features.shape[1])
        padded = [
            (F.pad(text.features, (0, 0, 0, length - text.features.shape[1])), F.pad(text.valid, (0, length - text.valid.shape[1])))
            for text in (self, other)
        ]  # fmt: skip
        return Text(torch.cat([features for features, _ in padded]), torch.cat([valid for _, valid in padded]))

    def replaced(self, table: Tensor, rows: Tensor) -> "Text":
        """These texts with some of them replaced by the first rows of a table, as many as each has tokens.

        Args:
            table: the unconditional text, [T, Ct].
            rows: bool [R], which.
        """
        null = table[: self.features.shape[1]].to(self.features)
        return Text(torch.where(rows[:, None, None], null, self.features), self.valid)

    def null(self, table: Tensor) -> "Text":
        """The unconditional text for each of these: as long as it is (published classifier-free guidance)."""
        return self.replaced(table, torch.ones(self.rows, dtype=torch.bool, device=self.valid.device))

    def to(self, device: torch.device) -> "Text":
        """These texts on another device."""
        return Text(self.features.to(device), self.valid.to(device))

    def check(self, config: InfinityConfig) -> None:
        """Refuse what a model cannot take.

        Raises:
            DataError: features of another width, or a text that is too long.
        """
        length, width = self.features.shape[1:]
        if width != config.text_width:
            raise DataError(
                f"text features of width {width} were given and the model takes {config.text_width}: use the encoder that "
                f"it was trained with ({config.text_encoder})"
            )
        if length > config.text_length:
            raise DataError(f"a text of {length} tokens was given and the model takes {config.text_length}: shorten it")


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
