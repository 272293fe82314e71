"""Stored codes read back: those that the stage made, and those in LlamaGen's published layout."""

from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ar_core.errors import DataError
from ar_core.io import read_array_file, read_tensors
from ar_core.training import Column, finished_chunks, read_chunks
from torch import Tensor

from .layout import unpack_captions, unpack_codes

__all__ = ["CodeStore", "PublishedCodes", "StoredCodes", "open_codes"]


class StoredCodes(Protocol):
    """The codes of N pictures in A augmentations each.

    Attributes:
        identity: what made them; ``tokenizer`` and ``schedule`` where that is known.
        captioned: whether there are captions.
    """

    identity: Mapping[str, Any]
    captioned: bool

    @property
    def labels(self) -> Tensor | None:
        """Class of each picture, int64 [N]; None where there are none."""
        ...

    @property
    def keys(self) -> Tensor:
        """Hash of each picture, int64 [N]."""
        ...

    def __len__(self) -> int: ...

    def views(self, number: int) -> int:
        """A, augmentations of a picture."""
        ...

    def codes(self, number: int, view: int) -> Tensor:
        """Codes of one augmentation, int64 [L], or bits, bool [L, d]."""
        ...

    def captions(self, number: int) -> tuple[str, ...]:
        """Captions of a picture."""
        ...


class CodeStore:
    """The chunks that the recipe `image_codes` left, in the order of the pictures, whatever shards made them.

    Codes stay in memory-mapped files; only hashes, labels and captions are in memory.

    Args:
        directory: folder of the chunks.

    Raises:
        DataError: there are no codes, or they are not finished.
        CheckpointError: a chunk is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.identity: Mapping[str, Any]
        self.identity, self._paths = finished_chunks(directory)
        if self.identity.get("recipe") != "image_codes":
            raise DataError(
                f"{str(directory)!r} holds the data of the recipe {self.identity.get('recipe')!r} and codes of images are needed: "
                "give a folder that image_codes filled"
            )
        self._length, self._bits = _form(self.identity, directory)
        chunks = read_chunks(self._paths, _columns(self._length, self._bits))
        self._codes: list[Tensor] | None = [chunk["codes"] for chunk in chunks]
        self.keys = torch.cat([chunk["key"] for chunk in chunks])
        self.labels = torch.cat([chunk["label"] for chunk in chunks]) if "label" in chunks[0] else None
        self.captioned = "caption_counts" in chunks[0]
        self._captions = [one for chunk, path in zip(chunks, self._paths) for one in _captions(chunk, path)]
        self._ends = np.cumsum([len(chunk["key"]) for chunk in chunks])

    def __len__(self) -> int:
        return len(self.keys)

    def views(self, number: int) -> int:
        """A, the same for all pictures."""
        return self._chunk(0).shape[1]

    def codes(self, number: int, view: int) -> Tensor:
        """Read one augmentation of a picture: int64 [L], or bits, bool [L, d]."""
        chunk = int(self._ends.searchsorted(number, side="right"))
        row = number - (int(self._ends[chunk - 1]) if chunk else 0)
        return unpack_codes(self._chunk(chunk)[row, view], self._length, self._bits)

    def captions(self, number: int) -> tuple[str, ...]:
        """Captions of a picture."""
        return self._captions[number]

    def _chunk(self, chunk: int) -> Tensor:
        if self._codes is None:
            self._codes = [read_tensors(path)["codes"] for path in self._paths]
        return self._codes[chunk]

    def __getstate__(self) -> dict[str, Any]:
        # A pickled map is the whole tensor: worker processes open their own.
        return {**self.__dict__, "_codes": None}


class PublishedCodes:
    """LlamaGen's layout: ``<name>_codes/<i>.npy`` of shape (1, A, L) or (A, L), and ``<name>_labels/<i>.npy`` with one class, i from 0.

    Files say neither which tokenizer nor which grid made them.

    Args:
        root: folder of the two folders.

    Raises:
        DataError: the folders are not there, or files are missing.
    """

    captioned = False

    def __init__(self, root: Path) -> None:
        found = sorted(root.glob("*_codes"))
        if len(found) != 1 or not found[0].is_dir():
            raise DataError(
                f"{str(root)!r} holds {len(found)} folders named *_codes and no chunks of the recipe image_codes: give a folder "
                "with one of either"
            )
        self._folder = found[0]
        self._labels_folder = root / f"{found[0].name.removesuffix('_codes')}_labels"
        self._count = sum(1 for entry in self._folder.iterdir() if entry.suffix == ".npy")
        if not self._count:
            raise DataError(f"{str(self._folder)!r} holds no .npy file: correct the path")
        self.identity: Mapping[str, Any] = {"published": self._folder.name, "files": self._count}

    def __len__(self) -> int:
        return self._count

    @cached_property
    def labels(self) -> Tensor | None:
        """int64 [N], read from the files once; None without the folder of labels."""
        if not self._labels_folder.is_dir():
            return None
        labels = [_array(self._labels_folder / f"{number}.npy") for number in range(len(self))]
        wrong = next((number for number, label in enumerate(labels) if label.size != 1), None)
        if wrong is not None:
            raise DataError(
                f"{self._labels_folder / f'{wrong}.npy'} holds {labels[wrong].size} classes and must hold one: correct the file"
            )
        return torch.tensor([int(label.item()) for label in labels], dtype=torch.int64)

    @cached_property
    def keys(self) -> Tensor:
        """int64 [N]: hash of each picture's codes, for want of its pixels."""
        digests = [blake2b(self._views(number).tobytes(), digest_size=8).digest() for number in range(len(self))]
        return torch.tensor([int.from_bytes(digest, "little") >> 1 for digest in digests], dtype=torch.int64)

    def views(self, number: int) -> int:
        """A of this picture."""
        return len(self._views(number))

    def codes(self, number: int, view: int) -> Tensor:
        """Read one augmentation of a picture: int64 [L]."""
        return torch.from_numpy(self._views(number)[view])

    def captions(self, number: int) -> tuple[str, ...]:
        """None in this layout."""
        return ()

    def _views(self, number: int) -> np.ndarray:
        path = self._folder / f"{number}.npy"
        codes = _array(path)
        if codes.ndim == 3 and codes.shape[0] == 1:
            codes = codes[0]
        if codes.ndim != 2 or 0 in codes.shape:
            raise DataError(
                f"{path} has the shape {list(codes.shape)} and must have (1, augmentations, codes): correct the file"
            )
        return codes


def open_codes(path: Path) -> StoredCodes:
    """Open a folder of codes of either layout.

    Raises:
        DataError: it is neither, or is not finished.
    """
    if any(path.glob("*_codes")):
        return PublishedCodes(path)
    return CodeStore(path)


def _form(identity: Mapping[str, Any], directory: Path) -> tuple[int, int | None]:
    """L and d that the record of the codes names."""
    schedule: Any = identity.get("schedule")
    bits: Any = identity.get("bits")
    fits = isinstance(schedule, list) and all(isinstance(size, list) and len(size) == 2 for size in schedule)
    numbers = [*(side for size in schedule for side in size), *([] if bits is None else [bits])] if fits else [0]
    if not all(type(number) is int and 0 < number < 2**20 for number in numbers) or not schedule:
        raise DataError(
            f"the record of the codes in {str(directory)!r} names the schedule {schedule!r:.80} and bits {bits!r:.20}: make them anew"
        )
    return sum(height * width for height, width in schedule), bits


def _columns(length: int, bits: int | None) -> dict[str, Column]:
    return {
        "codes": Column(("rows", "views", length if bits is None else -(-length * bits // 8))),
        "key": Column(("rows",)),
        "label": Column(("rows",), optional=True),
        "caption_bytes": Column(("*",), optional=True),
        "caption_lengths": Column(("*",), optional=True),
        "caption_counts": Column(("rows",), optional=True),
    }


def _captions(chunk: Mapping[str, Tensor], path: Path) -> list[tuple[str, ...]]:
    """Captions of the pictures of a chunk; none where it has none."""
    names = ("caption_bytes", "caption_lengths", "caption_counts")
    parts = [chunk[name] for name in names if name in chunk]
    if not parts:
        return []
    if len(parts) < len(names):
        raise DataError(f"{path} holds only some of the tensors of captions: make it again")
    text, lengths, counts = parts
    fits = text.dtype == torch.uint8 and bool((lengths >= 0).all()) and bool((counts >= 0).all())
    if not fits or int(lengths.sum()) != len(text) or int(counts.sum()) != len(lengths):
        raise DataError(f"{path} holds captions whose lengths do not add up: make it again")
    try:
        return unpack_captions(dict(chunk))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds a caption that is no UTF-8: make it again") from error


def _array(path: Path) -> np.ndarray:
    """Integers of a .npy file, int64."""
    try:
        array = read_array_file(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a plain array ({error}): files are numbered from 0, put it there"
        ) from error
    if array.dtype.kind not in "iu":
        raise DataError(f"{path} holds no integers: write them with numpy.save")
    return array.astype(np.int64)
