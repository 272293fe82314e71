"""Pictures, and containers that hold them."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ar_vision.data.collections.shapes import ShapesPictures
from PIL import Image

SIZE = (12, 10)
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decoded pictures of a test are its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pixels() -> np.ndarray:
    """Seven pictures, uint8 [7, 12, 10, 3], all different."""
    return np.random.default_rng(5).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> list[int]:
    """Their classes, in order as a folder of class folders has them."""
    return [0, 0, 0, 1, 1, 2, 2]


@pytest.fixture
def captions() -> list[list[str]]:
    """Their captions: one or two each, not all ASCII."""
    return [[f"picture {number} – ä", f"no. {number}"][: 1 + number % 2] for number in range(7)]


@pytest.fixture
def png() -> Callable[[np.ndarray], bytes]:
    """Encodes pixels."""

    def encode(picture: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png")
        return buffer.getvalue()

    return encode


@pytest.fixture
def tar() -> Callable[[Path, Sequence[tuple[str, bytes]]], Path]:
    """Writes members into a shard."""

    def write(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w") -> Path:
        with tarfile.open(path, mode) as archive:
            for name, data in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def containers(tmp_path, pixels, labels, captions, png, tar) -> dict[str, Path]:
    """The same pictures, classes and (where there is a place for them) captions in every kind of container."""
    files = [png(picture) for picture in pixels]
    for number, (data, label) in enumerate(zip(files, labels)):
        place = tmp_path / "folder" / CLASSES[label] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (tmp_path / "folder" / "read me.txt").write_text("no picture")

    np.savez(tmp_path / "set.npz", images=pixels, labels=np.array(labels, dtype=np.uint8))

    records = [
        {"file_name": f"folder/{CLASSES[label]}/{number}.png", "label": label, "captions": texts}
        for number, (label, texts) in enumerate(zip(labels, captions))
    ]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

    (tmp_path / "shards").mkdir()
    for shard, chosen in (("a", range(4)), ("b", range(4, 7))):
        members = []
        for number in chosen:
            key = f"{shard}/{number:03d}"
            members += [
                (f"{key}.png", files[number]),
                (f"{key}.cls", str(labels[number]).encode()),
                (f"{key}.json", json.dumps({"captions": captions[number]}).encode()),
            ]
        tar(tmp_path / "shards" / f"{shard}.tar", members)

    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "tables").mkdir()
    for name, rows in (("0", slice(0, 3)), ("1", slice(3, 7))):
        table = pyarrow.table({"image": files[rows], "label": labels[rows], "captions": captions[rows]})
        parquet.write_table(table, tmp_path / "tables" / f"{name}.parquet", row_group_size=2)
    return {
        "folder": tmp_path / "folder",
        "npz": tmp_path / "set.npz",
        "jsonl": tmp_path / "set.jsonl",
        "webdataset": tmp_path / "shards",
        "parquet": tmp_path / "tables",
    }


@pytest.fixture
def shapes() -> ShapesPictures:
    """Drawn pictures of 16 x 16 pixels."""
    return ShapesPictures(20, (16, 16))
