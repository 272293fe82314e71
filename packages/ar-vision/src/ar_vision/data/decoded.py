"""Decoded pictures in a memory-mapped file, and the hash of every picture: made once, found again by their fingerprint."""

import json
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
from ar_core.config import expand_path
from ar_core.data.progress import track
from ar_core.errors import CheckpointError, DataError
from ar_core.io import atomic_directory, read_array_file
from ar_core.io.lock import lock_file
from ar_core.json_text import read_json

from .. import __version__
from .collections import Picture, Pictures
from .config import ImageDataConfig

__all__ = ["DecodedPictures", "decoded_pictures", "picture_key", "picture_keys", "worth_keeping"]

KEPT_BYTES = 2 * 2**30
"""Bytes of decoded pictures up to which they are kept unless a config says otherwise."""
SAMPLED = 8


def picture_key(pixels: np.ndarray) -> int:
    """Hash of a picture's pixels, uint8 [H, W, 3], in [0, 2**63): equal pictures are held out together."""
    digest = blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=8, salt=str(pixels.shape[:2]).encode()[:16])
    return int.from_bytes(digest.digest(), "little") >> 1


class DecodedPictures:
    """N pictures in one folder, read through a memory map: opening is free, and processes share what they read.

    Args:
        folder: where they lie.
        pictures: what they were made of, for labels, names of classes and fingerprint.
        name: what their number is of, in messages.

    Attributes:
        keys: int64 [N], :func:`picture_key` of each.

    Raises:
        DataError: the folder is damaged.
    """

    def __init__(self, folder: Path, pictures: Pictures, name: str) -> None:
        self.folder, self.name, self.fingerprint = folder, name, pictures.fingerprint
        self.classes, self.captioned = pictures.classes, pictures.captioned
        try:
            self._sizes = read_array_file(folder / "sizes.npy")
            self.keys = read_array_file(folder / "keys.npy")
            self._captions = read_json(folder / "captions.json")
            size = (folder / "pixels.bin").stat().st_size
        except (OSError, ValueError) as error:
            raise DataError(
                f"the decoded pictures in {str(folder)!r} cannot be read ({error}): delete the folder"
            ) from error
        count = len(self.keys) if self.keys.ndim == 1 else 0
        fits = self._sizes.shape == (count, 2) and count > 0 and self._sizes.dtype == self.keys.dtype == np.int64
        # Sides of one picture at a time: their products must not wrap around.
        fits = fits and bool(((self._sizes > 0) & (self._sizes < 2**20)).all())
        if not fits or not _are_captions(self._captions, count):
            raise DataError(
                f"the decoded pictures in {str(folder)!r} are damaged (sizes, keys and captions do not agree): delete the folder"
            )
        self._ends = np.cumsum(self._sizes.prod(1) * 3, dtype=np.int64)
        if size != self._ends[-1]:
            raise DataError(
                f"the decoded pictures in {str(folder)!r} are damaged (pixels.bin has {size} bytes): delete the folder"
            )
        self.labels = None if pictures.labels is None else pictures.labels[: len(self)]
        self._map: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, number: int) -> Picture:
        """The picture's pixels (a read-only view of the map) and captions."""
        if self._map is None:
            # A plain view: indexing the memmap class costs more than the rest of a sample.
            self._map = np.memmap(self.folder / "pixels.bin", np.uint8, "r").view(np.ndarray)
        height, width = self._sizes[number]
        end = self._ends[number]
        pixels = self._map[end - height * width * 3 : end].reshape(height, width, 3)
        captions = tuple(self._captions[number]) if self._captions else ()
        return Picture(f"picture {number} of {self.name}", pixels, captions)

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map is the whole array: worker processes open their own.
        return {**self.__dict__, "_map": None}


def _are_captions(value: Any, count: int) -> bool:
    """Whether these are the captions of so many pictures, or none at all."""
    if not isinstance(value, list) or len(value) not in (0, count):
        return False
    return all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in value)


def worth_keeping(pictures: Pictures, count: int, background: tuple[int, int, int]) -> bool:
    """Whether ``count`` decoded pictures take at most 2 GiB, judged by a few of them."""
    chosen = np.unique(np.linspace(0, count - 1, SAMPLED).astype(int)).tolist()
    return count * float(np.mean([pictures[number].pixels(background).size for number in chosen])) <= KEPT_BYTES


def decoded_pictures(config: ImageDataConfig, pictures: Pictures, count: int) -> DecodedPictures:
    """Open the decoded form of the first ``count`` pictures, making it first if it is not there.

    Raises:
        DataError: a picture cannot be read, or the cache folder cannot be written.
    """
    folder = _folder(config, pictures, count, "pixels")
    if not os.path.isdir(folder):

        def write(target: Path) -> None:
            sizes, keys, captions = [], [], []
            with (target / "pixels.bin").open("wb") as file:
                for picture, pixels in _all_pixels(config, pictures, count, "decoding pictures"):
                    file.write(pixels.tobytes())
                    sizes.append(pixels.shape[:2])
                    keys.append(picture_key(pixels))
                    captions.append(picture.captions)
            np.save(target / "sizes.npy", np.array(sizes, dtype=np.int64))
            np.save(target / "keys.npy", np.array(keys, dtype=np.int64))
            (target / "captions.json").write_text(json.dumps(captions if any(captions) else []), encoding="utf-8")

        _publish(folder, write)
    return DecodedPictures(folder, pictures, str(config.path or config.kind))


def picture_keys(config: ImageDataConfig, pictures: Pictures, count: int) -> np.ndarray:
    """Return :func:`picture_key` of the first ``count`` pictures, int64 [count]; all are decoded for it, once.

    Raises:
        DataError: as :func:`decoded_pictures`.
    """
    if isinstance(pictures, DecodedPictures):
        return pictures.keys
    folder = _folder(config, pictures, count, "keys")
    if not os.path.isdir(folder):

        def write(target: Path) -> None:
            found = _all_pixels(config, pictures, count, "hashing pictures")
            np.save(target / "keys.npy", np.array([picture_key(pixels) for _, pixels in found], dtype=np.int64))

        _publish(folder, write)
    try:
        return read_array_file(folder / "keys.npy")
    except (OSError, ValueError) as error:
        raise DataError(
            f"the hashes of pictures in {str(folder)!r} cannot be read ({error}): delete the folder"
        ) from error


def _all_pixels(
    config: ImageDataConfig, pictures: Pictures, count: int, what: str
) -> Iterator[tuple[Picture, np.ndarray]]:
    for number in track(range(count), what, count):
        picture = pictures[number]
        yield picture, picture.pixels(config.background)


def _folder(config: ImageDataConfig, pictures: Pictures, count: int, what: str) -> Path:
    settings = [config.image_field, config.caption_fields, config.background]
    key = json.dumps([what, pictures.fingerprint, count, settings, __version__])
    if config.cache_dir is not None:
        parent = expand_path(config.cache_dir)
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ar-vision" / "pictures"
    return parent / sha256(key.encode()).hexdigest()[:32]


def _publish(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder that appears whole, in one process; others that want it at the same time wait."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / ".lock").open("w") as lock:
            lock_file(lock, wait=True)
            if not os.path.isdir(folder):
                with atomic_directory(folder) as temporary:
                    write(temporary)
    except (OSError, CheckpointError) as error:
        raise DataError(
            f"decoded pictures cannot be kept in {str(folder.parent)!r} ({error}): set data.cache_dir, or data.cache to false"
        ) from error
