"""Samples as files: one archive, or a folder of pictures."""

from pathlib import Path

from ar_core.io import atomic_directory

from .image_set import ImageSet
from .npz_images import write_npz
from .picture_grid import enlarged

__all__ = ["write_folder", "write_samples"]

BATCH = 256


def write_samples(path: Path, images: ImageSet) -> None:
    """Write an .npz where the name ends so, else a folder; the target appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written, or the folder exists.
    """
    if path.suffix == ".npz":
        write_npz(path, images.count, images.size, images.batches(BATCH), images.labels)
    else:
        write_folder(path, images)


def write_folder(path: Path, images: ImageSet) -> None:
    """Write ``000000.png``, ``000001.png``, ...; of classes, each into the folder of its number.

    Raises:
        CheckpointError: it cannot be written, or exists.
    """
    digits = max(6, len(str(images.count - 1)))
    with atomic_directory(path) as folder:
        number = 0
        for batch in images.batches(BATCH):
            for image in batch:
                into = folder if images.labels is None else folder / f"{int(images.labels[number]):04d}"
                into.mkdir(exist_ok=True)
                enlarged(image).save(into / f"{number:0{digits}d}.png")
                number += 1
