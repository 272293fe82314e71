"""Samples as files: one archive, or a folder of pictures."""

from pathlib import Path
from typing import Literal, TypeAlias

from ar_core.errors import ConfigError
from ar_core.io import atomic_directory

from ..data.collections.pictures import SUFFIXES
from .image_set import ImageSet
from .npz_images import write_npz
from .picture_grid import enlarged

__all__ = ["Form", "form_of", "names_folder", "write_folder", "write_samples"]

BATCH = 256

FILES = (*SUFFIXES, ".gz", ".npy", ".npz", ".parquet", ".tar", ".tgz", ".zip")
"""What names of folders do not end in: whoever gives it wants a file."""

Form: TypeAlias = Literal["grid", "archive", "folder"]
"""As what images are written."""


def names_folder(path: Path) -> bool:
    """Return whether a path is no name of a picture or an archive."""
    return path.suffix.lower() not in FILES


def form_of(output: Path) -> Form:
    """Return as what images are written to a path, by the end of its name.

    Raises:
        ConfigError: it is the name of another file than a .png or an .npz.
    """
    suffix = output.suffix.lower()
    if suffix == ".png":
        return "grid"
    if suffix == ".npz":
        return "archive"
    if not names_folder(output):
        raise ConfigError(
            f"output is {str(output)!r}, and images are written as a grid (.png), an archive (.npz) or a folder: give a name of one of these"
        )
    return "folder"


def write_samples(path: Path, images: ImageSet) -> None:
    """Write an .npz where the name ends so, else a folder; the target appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written, or the folder exists.
        ConfigError: as :func:`form_of`.
    """
    if form_of(path) == "archive":
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
