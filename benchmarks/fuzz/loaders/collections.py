"""Collections of pictures: NumPy archives, JSON Lines, parquet, tar shards, folders."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ar_vision.data.collections import open_pictures
from ar_vision.data.config import ImageDataConfig

from ..loader import Loader
from .images import picture

__all__ = ["LOADERS"]


def _reads(name: str) -> Any:
    def read(folder: Path) -> None:
        pictures = open_pictures(ImageDataConfig(path=str(folder / name), size=12))
        _ = pictures.labels, pictures.classes, pictures.fingerprint
        for number in range(min(len(pictures), 50)):
            one = pictures[number]
            one.pixels((255, 255, 255)).sum()

    return read


def _npz() -> Iterator[Any]:
    arrays = {"images": np.zeros((3, 4, 4, 3), np.uint8), "labels": np.arange(3)}
    yield lambda folder: np.savez(folder / "a.npz", **arrays)
    yield lambda folder: np.savez_compressed(folder / "a.npz", images=arrays["images"][..., 0])


def _jsonl() -> Iterator[Any]:
    records = [
        {"file_name": "a.png", "label": 0, "captions": ["one", "two"]},
        {"file_name": "b.jpg", "label": 1, "captions": "three"},
    ]

    def write(folder: Path) -> None:
        (folder / "a.png").write_bytes(picture())
        (folder / "b.jpg").write_bytes(picture("JPEG"))
        (folder / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    yield write


def _parquet() -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    data = [picture(), picture("JPEG"), picture(mode="L")]
    structs = [{"bytes": one, "path": None} for one in data]
    yield lambda folder: parquet.write_table(
        pyarrow.table({"image": data, "label": [0, 1, 1], "text": ["a", "b", "ü"]}), folder / "a.parquet"
    )
    yield lambda folder: parquet.write_table(
        pyarrow.table({"img": structs, "label": ["x", "y", "x"]}), folder / "a.parquet", row_group_size=2
    )


def _tar() -> Iterator[Any]:
    members = {
        "000.png": picture(),
        "000.cls": b"3",
        "000.txt": b"one",
        "000.json": b'{"label": 3, "caption": "c"}',
        "001.jpg": picture("JPEG"),
        "001.cls": b"4",
        "001.txt": "zwölf".encode(),
        "001.json": b"{}",
    }

    def write(folder: Path) -> None:
        with tarfile.open(folder / "a.tar", "w") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    yield write


def _folder() -> Iterator[Any]:
    def write(folder: Path) -> None:
        for name in ("cat", "dog"):
            (folder / "set" / name).mkdir(parents=True)
            (folder / "set" / name / "1.png").write_bytes(picture())

    yield write


LOADERS = (
    Loader("ar_vision/npz", _npz, _reads("a.npz")),
    # Records may name pictures anywhere.
    Loader("ar_vision/jsonl", _jsonl, _reads("metadata.jsonl"), contained=False),
    Loader("ar_vision/parquet", _parquet, _reads("a.parquet"), share=1.5),
    Loader("ar_vision/webdataset", _tar, _reads("a.tar")),
    Loader("ar_vision/folder", _folder, _reads("set"), share=0.5),
)
