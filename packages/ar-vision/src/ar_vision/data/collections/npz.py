"""Arrays of pictures in a NumPy archive."""

import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
from ar_core.config import did_you_mean
from ar_core.errors import DataError
from ar_core.io import read_array

from .fingerprint import files_fingerprint
from .pictures import Picture

__all__ = ["NpzPictures"]

FREELY, RATIO = 256 << 20, 16
"""Bytes that any array may take, and how many times the archive's size beyond them: pictures shrink to a half or a tenth."""


class NpzPictures:
    """Pictures uint8 [N, H, W] (greyscale), [N, H, W, 1] or [N, H, W, 3] and labels [N], held in memory.

    Args:
        path: the archive.
        image: name of the pictures' array.
        label: name of the labels' array; None takes ``labels`` if it is there.

    Raises:
        DataError: it is no archive of plain arrays, an array is absent, or of another type or shape.
    """

    classes = None
    captioned = False

    def __init__(self, path: Path, image: str | None, label: str | None) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                found = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                image = image or "images"
                label = label or ("labels" if "labels" in found else None)
                for name in filter(None, (image, label)):
                    if name not in found:
                        raise DataError(
                            f"{path} has no array {name!r}; {did_you_mean(name, found)}: set data.image_field and data.label_field"
                        )
                images, labels = (
                    None if name is None else _array(archive, found[name], path) for name in (image, label)
                )
                assert images is not None
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}): correct the path") from error
        except Exception as error:
            # Ways of compressing raise errors of their own.
            raise DataError(
                f"{path} is no readable archive of plain NumPy arrays: write it with numpy.savez"
            ) from error
        colour = images.ndim == 4 and images.shape[3] in (1, 3)
        if images.dtype != np.uint8 or not (images.ndim == 3 or colour) or 0 in images.shape:
            raise DataError(
                f"{path}: the array {image!r} is {images.dtype} {list(images.shape)} and must be uint8 [N, H, W] or [N, H, W, 3]: "
                "convert it"
            )
        if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iub"):
            raise DataError(
                f"{path}: the array {label!r} is {labels.dtype} {list(labels.shape)} and must be {len(images)} integers: correct it"
            )
        self._images = images if images.ndim == 4 else images[..., None]
        self.labels = None if labels is None else labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Picture:
        """The picture's pixels; greyscale becomes three equal channels."""
        pixels = self._images[number]
        return Picture(f"{self.path}, image {number}", np.repeat(pixels, 3 // pixels.shape[2], axis=2))

    @cached_property
    def fingerprint(self) -> str:
        """Of the file."""
        return files_fingerprint([(self.path.name, self.path)])


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """An array of the archive, unless it is far larger than the archive can honestly be."""
    size = path.stat().st_size
    if member.file_size > max(FREELY, RATIO * size):
        raise DataError(
            f"{path} has {size} bytes and would expand to {member.file_size}, as no pictures do: write it with numpy.savez"
        )
    with archive.open(member) as file:
        return read_array(file, member.file_size)
