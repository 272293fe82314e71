"""Records in JSON Lines that name picture files."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ar_core.data.records import FileRecords
from ar_core.errors import DataError

from .fingerprint import files_fingerprint
from .pictures import Picture, captions_of, number_labels

__all__ = ["JsonlPictures"]

FILES = ("file_name", "file", "image_path", "image")


class JsonlPictures:
    """A record a picture: the file's path, absolute or relative to the JSON Lines file, with captions and label if there are any.

    Args:
        path: the JSON Lines file, ``.gz`` or not.
        image: the entry that names the file; None takes the first usual one.
        label: the entry of the class; None takes ``label`` if the first record has it.
        captions: see :func:`captions_of`.

    Raises:
        DataError: a line is no record, or lacks an entry that others have.
    """

    def __init__(self, path: Path, image: str | None, label: str | None, captions: Sequence[str]) -> None:
        self.path = path
        self._places: list[str] = []
        self._files: list[Path] = []
        self._captions: list[tuple[str, ...]] = []
        labels: list[Any] = []
        for record in FileRecords(path):
            image = image or next((name for name in FILES if name in record.data), FILES[0])
            label = label or ("label" if not labels and not self._files and "label" in record.data else None)
            file = record.data.get(image)
            if not isinstance(file, str) or not file:
                raise DataError(
                    f"{record.place}: {image!r} is {file!r} and must name a picture file: correct it, or set data.image_field"
                )
            if label is not None:
                if label not in record.data:
                    raise DataError(f"{record.place}: there is no {label!r}, which other records have: add it")
                labels.append(record.data[label])
            self._places.append(record.place)
            self._files.append(path.parent / file)
            self._captions.append(captions_of(record.data, captions, record.place))
        if not self._files:
            raise DataError(f"{path} holds not a single record: give one JSON object a line")
        self.captioned = any(self._captions)
        self.labels, self.classes = number_labels(labels, str(path))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Picture:
        """The picture's path and captions."""
        place = f"{self._files[number]} ({self._places[number]})"
        return Picture(place, self._files[number], self._captions[number])

    @cached_property
    def fingerprint(self) -> str:
        """Of the records and, in their order, the files they name."""
        named = [(str(number), file) for number, file in enumerate(self._files)]
        return files_fingerprint([(self.path.name, self.path), *named])
