"""A frozen T5 that makes features of texts; with `glotok.teacher.vision_transformer` the only file of the package that imports transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.config import expand_path
from ar_core.errors import CheckpointError, MissingPackageError
from torch import Tensor, nn

from .text import Text

__all__ = ["T5Text"]


class T5Text(nn.Module):
    """The encoder half of a T5, with its tokenizer; published Infinity models use flan-t5-xl (Ct = 2048).

    Padding is not encoded into features: a text has as many tokens as it has, its end token included. Computed in float32; the
    published code runs its encoder in float16.

    Args:
        path: folder of a T5 in Hugging Face layout, or its name on the hub.
        length: most tokens; longer texts are cut off.

    Raises:
        MissingPackageError: transformers is not installed.
        CheckpointError: there is no such model.
    """

    def __init__(self, path: str | Path, length: int) -> None:
        super().__init__()
        try:
            from transformers import AutoTokenizer, T5EncoderModel
        except ImportError as error:
            raise MissingPackageError(
                "a T5 text encoder needs the package transformers; install it with `pip install 'ar-vision[text]'`"
            ) from error
        place = str(expand_path(str(path)))
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(place)
            self.encoder: Any = T5EncoderModel.from_pretrained(place, dtype=torch.float32).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"no T5 encoder can be read from {str(path)!r} ({str(error).partition(chr(10))[0]}): give the folder of one, "
                "such as google/flan-t5-xl"
            ) from error
        self.length = length

    def prepare(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return ``text_ids`` int64 [B, M] and ``text_valid`` bool [B, M]."""
        found = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        )
        return {"text_ids": found["input_ids"], "text_valid": found["attention_mask"].bool()}

    def count(self, captions: Sequence[str]) -> list[int]:
        """Return how many tokens each text has before it is cut off, its end included."""
        # Not verbose: transformers would warn of its own limit.
        return [len(ids) for ids in self.tokenizer(list(captions), verbose=False)["input_ids"]]

    @torch.no_grad()
    def forward(self, prepared: dict[str, Tensor]) -> Text:
        """Return the last hidden states, float32."""
        valid = prepared["text_valid"]
        hidden = self.encoder(input_ids=prepared["text_ids"], attention_mask=valid.long()).last_hidden_state
        return Text(hidden.float(), valid)

    def encode(self, captions: Sequence[str]) -> Text:
        """Return the features of captions."""
        device = next(self.parameters()).device
        out: Text = self({name: tensor.to(device) for name, tensor in self.prepare(captions).items()})
        return out
