"""Encoders of texts: what they do, and which one a model takes.

Source: ours.
"""

import sys
from collections.abc import Sequence
from typing import Protocol

from ar_core.errors import ConfigError
from torch import Tensor

from .config import TextShape
from .hashed import HashedText
from .t5 import T5Text
from .text import Text

__all__ = ["TextEncoder", "build_text_encoder", "encoded_alone", "tell_of_cuts"]


class TextEncoder(Protocol):
    """A frozen module from captions to features, in two steps, of which the first needs no device."""

    length: int
    """Most tokens of a text; longer ones are cut off, as published training does, and :func:`tell_of_cuts` says so."""

    def count(self, captions: Sequence[str]) -> list[int]:
        """Return how many tokens each text has before it is cut off, its end included."""
        ...

    def prepare(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Return tensors of B captions, each [B, ...]."""
        ...

    def __call__(self, prepared: dict[str, Tensor]) -> Text:
        """Return the features of what ``prepare`` gave, moved to the encoder's device."""
        ...

    def encode(self, captions: Sequence[str]) -> Text:
        """Return the features of captions: both steps."""
        ...


def build_text_encoder(shape: TextShape, path: str | None = None) -> TextEncoder:
    """Return the encoder that a model takes its text from.

    Args:
        shape: of the model's texts.
        path: of a T5; None where the model needs none.

    Raises:
        ConfigError: the model needs a T5 and none is given, or the other way round, or it has another width.
    """
    if shape.encoder == "hashed":
        if path is not None:
            raise ConfigError(f"the text encoder {path!r} was given to a model of hashed words: leave it out")
        return HashedText(shape.width, shape.length)
    if path is None:
        raise ConfigError(
            "the model takes features of a T5 and none is given: give the folder of its encoder as text_encoder"
        )
    encoder = T5Text(path, shape.length)
    width = int(encoder.encoder.config.d_model)
    if width != shape.width:
        raise ConfigError(
            f"the T5 in {path!r} has width {width} and the model takes {shape.width}: give the one it was trained with"
        )
    return encoder


def tell_of_cuts(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Say on standard error how many texts lose tokens, if any does."""
    longer = [count for count in encoder.count(texts) if count > encoder.length]
    if longer:
        print(
            f"warning: {len(longer)} of {len(texts)} texts have more than the {encoder.length} tokens that the model takes (up to "
            f"{max(longer)}), and what is behind these changes nothing: shorten them",
            file=sys.stderr,
        )


def encoded_alone(encoder: TextEncoder, texts: Sequence[str]) -> list[Tensor]:
    """Return the features of each text, float32 [n, Ct], encoded by itself, so that it does not depend on the others."""
    return [encoder.encode([text]).features[0] for text in texts]
