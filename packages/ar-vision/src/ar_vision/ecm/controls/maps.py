"""Maps that lie beside pictures: found by the relative path of their picture, or by number."""

from pathlib import Path
from typing import Any

from ar_core.config import expand_path
from ar_core.errors import DataError

from ...data.collections import Pictures, open_pictures
from ...data.collections.fingerprint import files_fingerprint
from ...data.collections.folder import FolderPictures
from ...data.collections.pictures import SUFFIXES, Picture
from ...data.config import ImageDataConfig

__all__ = ["open_maps"]


class _MapFolder:
    """Maps under the relative paths of the pictures, with any suffix of a picture."""

    captioned, labels, classes = False, None, None

    def __init__(self, folder: Path, pictures: FolderPictures) -> None:
        self._files = [_map_of(folder, pictures, number) for number in range(len(pictures))]
        self.fingerprint: str = files_fingerprint((file.relative_to(folder).as_posix(), file) for file in self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Picture:
        return Picture(str(self._files[number]), self._files[number])


def open_maps(path: str, pictures: Pictures) -> Pictures:
    """Open the maps of pictures.

    Args:
        path: of a folder, whose maps have the relative paths of the pictures, which are in a folder, too; or of a file of pictures
            (parquet, npz, ...), as many as there are pictures and in their order. ``~`` and ``$NAME`` are expanded.
        pictures: whose maps they are.

    Raises:
        DataError: a map is missing, named with its picture; or their number is another.
    """
    where = expand_path(path)
    if where.is_dir() and isinstance(pictures, FolderPictures):
        return _MapFolder(where, pictures)
    settings: Any = {"kind": "auto", "path": str(where)}
    found = open_pictures(ImageDataConfig(**settings))
    if len(found) != len(pictures):
        raise DataError(
            f"{str(where)!r} holds {len(found)} maps and there are {len(pictures)} pictures: give one map for each, in their order"
        )
    return found


def _map_of(folder: Path, pictures: FolderPictures, number: int) -> Path:
    relative = pictures.relative(number)
    found = next((file for suffix in SUFFIXES if (file := (folder / relative).with_suffix(suffix)).is_file()), None)
    if found is None:
        raise DataError(
            f"the picture {str(pictures.path / relative)!r} has no map {str((folder / relative).with_suffix('.png'))!r}: make it, or take "
            "the picture out of the data"
        )
    return found
