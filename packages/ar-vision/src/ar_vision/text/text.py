"""A batch of texts as features.

Source: ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .config import TextShape

__all__ = ["Text"]


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
        """The unconditional text, a table [T, Ct], for each of these: as long as it is (published classifier-free guidance)."""
        return self.replaced(table, torch.ones(self.rows, dtype=torch.bool, device=self.valid.device))

    def to(self, device: torch.device) -> "Text":
        """These texts on another device."""
        return Text(self.features.to(device), self.valid.to(device))

    def check(self, shape: TextShape) -> None:
        """Refuse what a model cannot take.

        Raises:
            DataError: features of another width, or a text that is too long.
        """
        length, width = self.features.shape[1:]
        if width != shape.width:
            raise DataError(
                f"text features of width {width} were given and the model takes {shape.width}: use the encoder that "
                f"it was trained with ({shape.encoder})"
            )
        if length > shape.length:
            raise DataError(f"a text of {length} tokens was given and the model takes {shape.length}: shorten it")
