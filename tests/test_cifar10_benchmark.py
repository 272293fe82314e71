"""CIFAR-10 out of a package of sheets, and refusals of packages that are not it."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ar_core.errors import DataError
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.source import build_image_source
from PIL import Image


@pytest.fixture
def prepare(benchmark_module):
    """The module that writes the files."""
    return benchmark_module("cifar10.prepare")


@pytest.fixture
def sheets(prepare, monkeypatch) -> dict[str, np.ndarray]:
    """Six sheets of 20 pictures instead of 10,000."""
    monkeypatch.setattr(prepare, "SHEET", 20)
    draw = np.random.default_rng(1)
    names = [name for files, _ in prepare.SPLITS.values() for name in files]
    return {name: draw.integers(0, 256, (20, 1024, 3), dtype=np.uint8) for name in names}


@pytest.fixture
def members(sheets) -> dict[str, bytes]:
    """Files of the package."""
    files = {}
    for name, pixels in sheets.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        files[name] = buffer.getvalue()
    labels = {"train_lables.json": [*range(10)] * 10, "test_lables.json": [3, *range(10), *range(3), *range(4, 10)]}
    return files | {name: json.dumps(values).encode() for name, values in labels.items()}


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_rows_of_sheets_become_pictures_in_order(prepare, members, sheets, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = list(prepare.write_splits(packed(tmp_path / "a.tgz", members), tmp_path))
    assert [line.partition(",")[0] for line in lines] == ["train: 100 pictures", "test: 20 pictures"]
    expected = np.concatenate([sheets[name] for name in prepare.SPLITS["train"][0]]).reshape(-1, 32, 32, 3)
    for suffix in ("parquet", "npz"):
        found = build_image_source(
            ImageDataConfig(path=str(tmp_path / f"train.{suffix}"), size=32), seed=0, num_classes=10
        )
        samples = list(found.once())
        assert np.array_equal(np.stack([sample["image"].permute(1, 2, 0) for sample in samples]), expected)
        assert [int(sample["label"]) for sample in samples] == [*range(10)] * 10


def test_other_packages_are_refused(prepare, members, tmp_path):
    def refused(changed: dict[str, bytes], match: str) -> None:
        with pytest.raises(DataError, match=match):
            list(prepare.write_splits(packed(tmp_path / "a.tgz", members | changed), tmp_path))

    refused({"test_lables.json": json.dumps([0] * 20).encode()}, "must hold 20 labels, 2 of each of 10 classes")
    refused({"train_lables.json": json.dumps([*range(10)] * 9).encode()}, "must hold 100 labels")
    buffer = io.BytesIO()
    Image.new("RGB", (1024, 19)).save(buffer, "png")
    refused({"data_batch_3.png": buffer.getvalue()}, "data_batch_3.png has 19 rows of 1024 pixels")
    del members["test_batch.png"]
    refused({}, "has no package/test_batch.png")
    (tmp_path / "a.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read as an npm archive"):
        list(prepare.write_splits(tmp_path / "a.tgz", tmp_path))
