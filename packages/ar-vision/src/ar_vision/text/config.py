"""What a generator of texts takes its text as. Imports no torch."""

from typing import Literal, NamedTuple

__all__ = ["TextEncoderName", "TextShape"]

TextEncoderName = Literal["t5", "hashed"]
"""Whose features a model takes as its text: a T5 encoder's (published: flan-t5-xl), or our dependency-free `.hashed`."""


class TextShape(NamedTuple):
    """Texts of one model: whose features, their width Ct, and most tokens of a text."""

    encoder: TextEncoderName
    width: int
    length: int
