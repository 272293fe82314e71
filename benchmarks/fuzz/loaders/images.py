"""Pictures in every format that is taken, decoded ones, archives of images."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from ar_core.pictures import read_picture
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.decoded import DecodedPictures, decoded_pictures
from ar_vision.evaluation.npz_images import open_npz, write_npz
from PIL import Image

from ..loader import Loader

__all__ = ["LOADERS", "picture"]


def picture(kind: str = "PNG", mode: str = "RGB", side: int = 12, **options: Any) -> bytes:
    """The bytes of a small picture."""
    ramp = np.arange(side * side * 3, dtype=np.uint32).reshape(side, side, 3).astype(np.uint8)
    image = Image.fromarray(ramp).convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.arange(side * side, dtype=np.uint16).reshape(side, side) * 400)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _png() -> Iterator[Any]:
    for options in (
        {},
        {"mode": "RGBA"},
        {"mode": "P"},
        {"mode": "L"},
        {"mode": "1"},
        {"mode": "LA"},
        {"mode": "I;16"},
    ):
        yield lambda folder, options=options: (folder / "a.png").write_bytes(picture(**options))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield lambda folder: (folder / "a.png").write_bytes(picture(exif=exif))


def _others() -> Iterator[Any]:
    exif = Image.Exif()
    exif[0x0112] = 3
    made = (
        ("JPEG", {"quality": 80, "exif": exif}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"mode": "CMYK"}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"mode": "RGBA"}),
        ("GIF", {"mode": "P"}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
        ("PPM", {}),
    )
    for kind, options in made:
        yield lambda folder, kind=kind, options=options: (folder / "a.img").write_bytes(picture(kind, **options))


def _read(name: str) -> Any:
    def read(folder: Path) -> None:
        read_picture(folder / name, background=(0, 0, 0)).sum()

    return read


def _stored() -> Any:
    """In place of a collection of three pictures."""
    arrays = [np.full((2, 3 + number, 3), number, np.uint8) for number in range(3)]
    items = [SimpleNamespace(pixels=lambda background, array=array: array, captions=("a",)) for array in arrays]

    class Pictures(list):
        labels, classes, captioned, fingerprint = np.arange(3), None, True, "f"

    return Pictures(items)


def _decoded() -> Iterator[Any]:
    def write(folder: Path) -> None:
        config = ImageDataConfig(kind="folder", path="x", size=4, cache_dir=str(folder))
        decoded_pictures(config, _stored(), 3).folder.rename(folder / "decoded")

    yield write


def _read_decoded(folder: Path) -> None:
    decoded = DecodedPictures(folder / "decoded", _stored(), "x")
    for number in range(len(decoded)):
        decoded[number].data.sum()  # type: ignore[union-attr]


def _npz() -> Iterator[Any]:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    yield lambda folder: write_npz(folder / "a.npz", 2, (4, 4), iter([images]), torch.tensor([0, 1]))
    arrays = {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu": np.zeros(3), "sigma": np.eye(3)}
    yield lambda folder: np.savez_compressed(folder / "a.npz", **arrays)


def _read_npz(folder: Path) -> None:
    found = open_npz(folder / "a.npz")
    for image in found.stream(0):
        image.sum()


LOADERS = (
    Loader("ar_core/png", _png, _read("a.png"), share=1.5),
    Loader("ar_core/pictures", _others, _read("a.img"), share=1.5),
    Loader("ar_vision/decoded_pictures", _decoded, _read_decoded),
    Loader("ar_vision/evaluated_npz", _npz, _read_npz),
)
