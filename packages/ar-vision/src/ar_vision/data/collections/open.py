"""From a path to the pictures in it."""

import glob
import os
from pathlib import Path
from typing import Literal

from ar_core.config import expand_path
from ar_core.errors import ConfigError, DataError

from ..config import ImageDataConfig
from .folder import FolderPictures
from .jsonl import JsonlPictures
from .npz import NpzPictures
from .parquet import ParquetPictures
from .pictures import Pictures
from .shapes import ShapesPictures
from .webdataset import WebdatasetPictures

__all__ = ["detect_kind", "open_pictures"]

Kind = Literal["folder", "parquet", "webdataset", "npz", "jsonl"]
SUFFIX: dict[str, Kind] = {
    ".parquet": "parquet",
    ".tar": "webdataset",
    ".npz": "npz",
    ".jsonl": "jsonl",
    ".gz": "jsonl",
}
METADATA = "metadata.jsonl"


def open_pictures(config: ImageDataConfig) -> Pictures:
    """Open what ``config`` names; pixels are not read yet.

    Raises:
        DataError: nothing is there, or it is not what its kind says.
        ConfigError: a field is named that the kind of data does not have.
        MissingPackageError: parquet files without pyarrow.
    """
    if config.kind == "shapes":
        _unused(config, "image_field", "label_field", "caption_fields")
        assert config.count is not None
        return ShapesPictures(config.count, config.shape)
    assert config.path is not None
    path = expand_path(config.path)
    kind = detect_kind(path) if config.kind == "auto" else config.kind
    if kind == "folder":
        _unused(config, "image_field", "label_field", "caption_fields")
        if not os.path.isdir(path):
            raise DataError(f"{str(path)!r} is no folder: give a folder of pictures, or another data.kind")
        return FolderPictures(path)
    files = _files(path, kind)
    if kind == "parquet":
        return ParquetPictures(files, config.image_field, config.label_field, config.caption_fields)
    if kind == "webdataset":
        return WebdatasetPictures(files, config.image_field, config.label_field, config.caption_fields)
    if len(files) != 1:
        raise DataError(f"{str(path)!r} names {len(files)} files and the kind {kind} takes one: name it")
    if kind == "jsonl":
        return JsonlPictures(files[0], config.image_field, config.label_field, config.caption_fields)
    _unused(config, "caption_fields")
    return NpzPictures(files[0], config.image_field, config.label_field)


def detect_kind(path: Path) -> Kind:
    """Tell the kind of data from a path: the file's suffix, or what lies in the folder.

    Raises:
        DataError: nothing is there, or it is of no known kind.
    """
    if os.path.isdir(path):
        if os.path.isfile(path / METADATA):
            return "jsonl"
        found = {SUFFIX[entry.suffix] for entry in path.iterdir() if entry.suffix in (".parquet", ".tar")}
        if len(found) > 1:
            raise DataError(
                f"{str(path)!r} holds both parquet and tar files: name one kind with a pattern such as {path}/*.tar"
            )
        return found.pop() if found else "folder"
    if path.name.endswith((".tar.gz", ".tgz")):
        raise DataError(
            f"the shard {str(path)!r} is compressed, so that its samples cannot be read in any order: unpack it to .tar"
        )
    if path.suffix not in SUFFIX:
        what = "is of no known kind" if os.path.exists(path) else "does not exist"
        raise DataError(
            f"the image data {str(path)!r} {what}: give a folder of pictures, .parquet, .tar, .npz or .jsonl, or set data.kind"
        )
    return SUFFIX[path.suffix]


def _files(path: Path, kind: Kind) -> list[Path]:
    suffix = next(suffix for suffix, known in SUFFIX.items() if known == kind)
    if os.path.isdir(path):
        files = [path / METADATA] if kind == "jsonl" else sorted(path.glob(f"*{suffix}"))
    elif "*" in str(path):
        files = sorted(Path(name) for name in glob.glob(str(path)))
    else:
        files = [path]
    missing = [file for file in files if not os.path.isfile(file)]
    if missing or not files:
        raise DataError(f"{str(missing[0] if missing else path)!r} is no file of the kind {kind}: correct data.path")
    return files


def _unused(config: ImageDataConfig, *names: str) -> None:
    for name in names:
        if getattr(config, name):
            raise ConfigError(
                f"data.{name} is {getattr(config, name)!r}, which data of this kind do not have: leave it out"
            )
