"""What every container of pictures gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ar_core.errors import DataError
from ar_core.pictures import read_picture

__all__ = ["SUFFIXES", "Picture", "Pictures", "captions_of", "number_labels"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of files that are taken for pictures."""
CAPTIONS = ("captions", "caption", "text", "long_caption")


@dataclass(frozen=True)
class Picture:
    """One picture."""

    place: str
    """What it is called in messages."""
    data: bytes | Path | np.ndarray
    """The file's bytes, its path, or decoded pixels, uint8 [H, W, 3]."""
    captions: tuple[str, ...] = ()
    """Texts that say what is to be seen; none where pictures have no captions."""

    def pixels(self, background: tuple[int, int, int]) -> np.ndarray:
        """Decode to uint8 [H, W, 3]; raises as :func:`ar_core.pictures.read_picture` does."""
        if isinstance(self.data, np.ndarray):
            return self.data
        return read_picture(self.data, self.place, background=background)


class Pictures(Protocol):
    """N pictures by number, always in the same order; can be sent to worker processes."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class of each picture, int64 [N]; None where pictures have no class."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, if they have names."""
        ...

    @property
    def captioned(self) -> bool:
        """Whether there are captions."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the content (of names and sizes of large sets): changes when the data change."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Picture: ...


def captions_of(record: Mapping[str, Any], fields: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the texts of a record.

    Args:
        record: entries by name.
        fields: those that hold captions, each a text or a list of texts; empty takes the first usual one that is there.
        place: what names the record in messages.

    Raises:
        DataError: a named field is absent, or is neither.
    """
    found: list[str] = []
    for name in fields or [name for name in CAPTIONS if name in record][:1]:
        value = record.get(name)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{place}: the caption {name!r} is {value!r} and must be a text or a list of texts: correct it"
            )
        found += texts
    return tuple(found)


def number_labels(values: Sequence[Any], place: str) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Turn labels as they are stored into numbers.

    Args:
        values: N integers or truth values, kept as they are; or N texts, numbered in sorted order.
        place: what names the data in messages.

    Returns:
        int64 [N] and the names that were numbered; None and None where there are no values.

    Raises:
        DataError: some are of neither kind, or they are mixed.
    """
    if not values:
        return None, None
    kinds = {type(value) for value in values}
    if kinds <= {bool} or kinds <= {int}:
        if large := next((value for value in values if not -(2**63) <= value < 2**63), None):
            raise DataError(f"{place}: the label {large:.10g} does not fit into 64 bits: number the classes from 0")
        return np.array(values, dtype=np.int64), None
    if kinds <= {str}:
        names = tuple(sorted(set(values)))
        numbers = {name: number for number, name in enumerate(names)}
        return np.array([numbers[value] for value in values], dtype=np.int64), names
    wrong = next((value for value in values if not isinstance(value, (int, str))), values[0])
    raise DataError(
        f"{place}: the labels are of the types {', '.join(sorted(kind.__name__ for kind in kinds))} (for example {wrong!r}): "
        "give every picture an integer, or every picture a text"
    )
