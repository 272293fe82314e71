"""A folder of pictures, or of one folder a class."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from ar_core.errors import DataError

from .fingerprint import files_fingerprint
from .pictures import SUFFIXES, Picture

__all__ = ["FolderPictures"]


class FolderPictures:
    """Pictures that lie in one folder (no classes), or in subfolders whose names, sorted, are the classes.

    Below a class pictures may lie at any depth. Order: class, then path. Files that are no pictures by their suffix are passed
    over, and so are hidden ones.

    Raises:
        DataError: there are no pictures, or some lie beside the class folders.
    """

    captioned = False

    def __init__(self, path: Path) -> None:
        self.path = path
        top = _pictures(path.iterdir())
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        below = {folder.name: found for folder in folders if (found := _pictures(folder.rglob("*")))}
        if top and below:
            raise DataError(
                f"{str(path)!r} holds both pictures ({top[0].name}) and folders of pictures ({next(iter(below))}): give a folder "
                "of pictures, or one with a folder for each class"
            )
        if not top and not below:
            raise DataError(
                f"{str(path)!r} and its folders hold no file whose name ends like a picture's ({', '.join(SUFFIXES)}): correct "
                "the path"
            )
        self._files = top or [file for found in below.values() for file in found]
        self.classes = tuple(below) or None
        counts = [len(found) for found in below.values()]
        self.labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64) if below else None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Picture:
        """The picture's path; it is read when its pixels are wanted."""
        return Picture(str(self._files[number]), self._files[number])

    def relative(self, number: int) -> Path:
        """The picture's path in the folder."""
        return self._files[number].relative_to(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """Of the files."""
        return files_fingerprint((self.relative(number).as_posix(), file) for number, file in enumerate(self._files))


def _pictures(entries: Iterable[Path]) -> list[Path]:
    return sorted(
        entry
        for entry in entries
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )
