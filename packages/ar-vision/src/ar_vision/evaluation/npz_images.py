"""Archives of images as evaluators of generators read them, streamed in both directions."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from ar_core.errors import DataError
from ar_core.io import array_header, atomic_file, read_array
from numpy.lib import format as npy
from torch import Tensor

from ..data.collections.fingerprint import files_fingerprint

__all__ = ["NpzImages", "open_npz", "write_npz"]

IMAGES, LABELS = ("arr_0", "images"), ("labels", "arr_1")
LARGEST = 256 << 20
"""Bytes of labels or published statistics; 2,048 features take 32 MiB."""
STATISTICS = ("mu", "sigma", "mu_s", "sigma_s")


@dataclass(frozen=True)
class NpzImages:
    """N images of an archive, and what else it holds; see `.image_set.ImageSet`."""

    path: Path
    """The file."""
    member: str
    """Name of the array that holds the images."""
    count: int
    """N."""
    size: tuple[int, int]
    """Height and width in pixels."""
    labels: Tensor | None
    """int64 [N]; None where the archive has none."""
    statistics: Mapping[str, Tensor]
    """Published moments of features, float64, by their names in the archive."""

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies the archive."""
        return {"fingerprint": files_fingerprint([(self.path.name, self.path)])}

    def stream(self, start: int) -> Iterator[Tensor]:
        """Yield the images from number ``start`` on, uint8 [3, H, W], reading one at a time.

        Raises:
            DataError: the archive is truncated or damaged.
        """
        length = self.size[0] * self.size[1] * 3
        with _opened(self.path) as archive, archive.open(self.member) as file:
            _header(file, self.path, self.member)
            for number in range(self.count):
                data = file.read(length)
                if len(data) < length:
                    raise DataError(
                        f"{self.path} ends within image {number} of {self.count}: it is truncated, copy it again"
                    )
                if number >= start:
                    pixels = np.frombuffer(data, np.uint8).reshape(*self.size, 3)
                    yield torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def open_npz(path: Path) -> NpzImages:
    """Read what an archive holds but its images: ``arr_0`` or ``images``, ``labels`` or ``arr_1``, published statistics.

    Raises:
        DataError: it is no archive of plain arrays, or the images are not uint8 [N, H, W, 3] in C order.
    """
    with _opened(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        found = next((name for name in IMAGES if name in names), None)
        if found is None:
            raise DataError(
                f"{path} has no array {' or '.join(map(repr, IMAGES))} (it has {', '.join(names) or 'nothing'}): save images as "
                "arr_0"
            )
        with archive.open(names[found]) as file:
            shape, fortran, dtype = _header(file, path, found)
        if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape or fortran:
            raise DataError(
                f"{path}: the array {found!r} is {dtype} {list(shape)} and must be uint8 [N, H, W, 3] in C order: convert it"
            )
        label = next((name for name in LABELS if name in names), None)
        labels = None if label is None else _array(archive, names[label], path)
        if labels is not None and (labels.shape != shape[:1] or labels.dtype.kind not in "iu"):
            raise DataError(
                f"{path}: the array {label!r} is {labels.dtype} {list(labels.shape)} and must be {shape[0]} integers: correct it"
            )
        statistics = {name: _numbers(archive, names[name], path) for name in STATISTICS if name in names}
    classes = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return NpzImages(path, names[found], shape[0], (shape[1], shape[2]), classes, statistics)


def write_npz(path: Path, count: int, size: tuple[int, int], images: Iterator[Tensor], labels: Tensor | None) -> None:
    """Write ``arr_0`` uint8 [N, H, W, 3], uncompressed, and ``labels`` int64 [N]; the file appears whole or not at all.

    The same images give the same bytes.

    Args:
        path: the file.
        count: N.
        size: (H, W).
        images: batches uint8 [B, 3, H, W], N images in all.
        labels: int64 [N].

    Raises:
        CheckpointError: it cannot be written.
    """
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as file:
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, *size, 3)})
            written = 0
            for batch in images:
                file.write(batch.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
                written += len(batch)
        assert written == count
        if labels is not None:
            with archive.open(zipfile.ZipInfo("labels.npy"), "w") as file:
                npy.write_array(file, labels.numpy(), allow_pickle=False)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise DataError(f"the file {str(path)!r} does not exist: correct the path") from error
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        KeyError,
        struct.error,
        UnicodeDecodeError,
        OverflowError,
    ) as error:
        # Some of the last: a way of compressing that zipfile does not know, and an archive with a password.
        raise DataError(f"{path} is no readable archive of NumPy arrays ({error}): write it again") from error


def _header(file: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran order, dtype) of an array; the file stands at its first number afterwards."""
    try:
        return array_header(file)
    except ValueError as error:
        raise DataError(f"{path}: {name!r} is no plain NumPy array ({error}): write it again") from error


def _numbers(archive: zipfile.ZipFile, name: str, path: Path) -> Tensor:
    array = _array(archive, name, path)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name!r} is {array.dtype} and must be numbers: correct it")
    return torch.from_numpy(array.astype(np.float64))


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    try:
        size = archive.getinfo(name).file_size
        if size > LARGEST:
            raise ValueError(f"it would take {size} bytes")
        with archive.open(name) as file:
            return read_array(file, size)
    except ValueError as error:
        raise DataError(f"{path}: {name!r} is no plain NumPy array ({error}): write it again") from error
