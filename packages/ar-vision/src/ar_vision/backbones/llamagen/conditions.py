"""What stands before the codes: a class, or the features of a text.

Source: LlamaGen (arXiv 2406.06525), section 2.2, and its published code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...text.text import Text
from .config import LlamaGenConfig

__all__ = ["ClassCondition", "TextCondition", "left_padded", "pad_texts"]


class ClassCondition(nn.Module):
    """One position: the embedding of a class; the row behind the last class is the null condition.

    Args:
        config: sizes.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.null_class = config.num_classes
        self.table = nn.Embedding(config.num_classes + 1, config.dim)

    def forward(self, labels: Tensor) -> Tensor:
        """`[B, 1, C]` of classes int64 `[B]`."""
        out: Tensor = self.table(labels)[:, None]
        return out

    def null(self, rows: int) -> Tensor:
        """`[B, 1, C]` of no class."""
        out: Tensor = self(torch.full((rows,), self.null_class, device=self.table.weight.device))
        return out


class TextCondition(nn.Module):
    """P positions: features of a text through two linear maps; learned features stand for no text.

    Args:
        config: sizes.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.text_dim, config.dim, bias=False)
        self.fc2 = nn.Linear(config.dim, config.dim, bias=False)
        self.null_features = nn.Parameter(torch.empty(config.text_tokens, config.text_dim))

    def forward(self, features: Tensor, dropped: Tensor | None = None) -> Tensor:
        """`[B, P, C]`.

        Args:
            features: `[B, P, text_dim]`, padded on the left.
            dropped: bool `[B]`, rows that get the null features in place of theirs; None: no row.
        """
        features = features.type_as(self.null_features)
        if dropped is not None:
            features = torch.where(dropped[:, None, None], self.null_features, features)
        out: Tensor = self.fc2(F.gelu(self.fc1(features), approximate="tanh"))
        return out

    def null(self, rows: int) -> Tensor:
        """`[B, P, C]` of no text."""
        out: Tensor = self(self.null_features.expand(rows, -1, -1))
        return out


def pad_texts(features: Sequence[Tensor], config: LlamaGenConfig) -> tuple[Tensor, Tensor]:
    """Lay out texts of any lengths: cut to the first P features, short ones padded with zeros on the left.

    Args:
        features: of each text, `[n, text_dim]`, float.
        config: P and text_dim.

    Returns:
        float32 `[B, P, text_dim]`, and bool `[B, P]`: where there is a feature.

    Raises:
        DataError: features of another shape.
    """
    for text in features:
        if text.ndim != 2 or text.shape[1] != config.text_dim:
            raise DataError(
                f"text features of shape {list(text.shape)} were given; they must be [n, {config.text_dim}], the states of "
                "the text encoder that the model was trained with"
            )
    cut = [text[: config.text_tokens].float() for text in features]
    lengths = torch.tensor([len(text) for text in cut])
    wide = pad_sequence(cut, batch_first=True)
    valid = torch.arange(wide.shape[1]) < lengths[:, None]
    return left_padded(Text(wide, valid.to(wide.device)), config.text_tokens)


def left_padded(text: Text, length: int) -> tuple[Tensor, Tensor]:
    """Move the padding of texts to the left, where LlamaGen has it, and fill it with zeros.

    Args:
        text: B texts of at most P tokens.
        length: P.

    Returns:
        float32 `[B, P, Ct]`, and bool `[B, P]`: where there is a feature.
    """
    behind = length - text.features.shape[1]
    features, valid = F.pad(text.features, (0, 0, 0, behind)), F.pad(text.valid, (0, behind))
    source = (torch.arange(length, device=valid.device) + valid.sum(1, keepdim=True)) % length
    valid = valid.gather(1, source)
    moved = features.gather(1, source[..., None].expand_as(features))
    return moved.masked_fill(~valid[..., None], 0.0), valid
