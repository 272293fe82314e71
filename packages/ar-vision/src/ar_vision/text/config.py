"""What a generator of texts takes its text as. Imports no torch."""

from typing import Literal, NamedTuple

__all__ = ["TextEncoderName", "TextShape"]

TextEncoderName = Literal["t5", "hashed"]
"""Whose features a model takes as its text: a T5 encoder's (published: flan-t5-xl), or our dependency-free `.hashed`."""


class TextShape(NamedTuple):
    """Texts of one model."""

    encoder: TextEncoderName
    """Whose features they are."""
    width: int
    """Ct of the features."""
    length: int
    """Most tokens of a text."""
