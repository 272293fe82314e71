"""Tokenised rows in memory-mapped files, made once and found again by the fingerprint of what made them."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..json_text import read_json
from .packing import Row

__all__ = ["RowStore", "stored_rows"]

_DTYPES = {"ids": np.int32, "supervised": np.bool_, "document": np.int32}
_META = "meta.json"

NO_ROWS = "the data hold not a single row; give more records, a shorter seq_len, or another split"


class RowStore:
    """N rows of L tokens in one folder, read through memory maps: opening is free and nothing is held in memory.

    Attributes:
        meta: what was counted when the rows were made (``rows``, ``seq_len``, ``documents``, ``tokens``, ...).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.meta: dict[str, Any] = read_json(folder / _META)
            shape = (self.meta["rows"], self.meta["seq_len"])
            sizes = {name: (folder / f"{name}.bin").stat().st_size for name in _DTYPES}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the token rows in {str(folder)!r} cannot be read ({error}); delete it") from error
        if not all(type(length) is int and length > 0 for length in shape):
            raise DataError(
                f"the token rows in {str(folder)!r} are damaged ({_META} says {shape[0]!r:.40} rows of {shape[1]!r:.40}); delete the folder"
            )
        for name, dtype in _DTYPES.items():
            size = sizes[name]
            if size != shape[0] * shape[1] * np.dtype(dtype).itemsize:
                raise DataError(
                    f"the token rows in {str(folder)!r} are damaged ({name}.bin has {size} bytes); delete the folder"
                )
        self._maps: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return int(self.meta["rows"])

    def __getitem__(self, index: int) -> Row:
        """Copy one row out of the maps."""
        if self._maps is None:
            shape = (self.meta["rows"], self.meta["seq_len"])
            self._maps = {
                name: np.memmap(self.folder / f"{name}.bin", dtype, "r", shape=shape) for name, dtype in _DTYPES.items()
            }
        return Row(**{name: np.array(values[index]) for name, values in self._maps.items()})

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map is the whole array: worker processes open their own.
        return {**self.__dict__, "_maps": None}


def stored_rows(
    cache_dir: Path, fingerprint: str, seq_len: int, make: Callable[[dict[str, int]], Iterator[Row]]
) -> RowStore:
    """Open the rows stored under ``fingerprint``, making them first if they are not there.

    The folder appears under its name only when it is complete. Processes that make the same rows at the same time do
    not disturb one another: the first to finish is kept.

    Args:
        cache_dir: folder of all stored rows.
        fingerprint: hash of everything the rows depend on.
        seq_len: L.
        make: yields the rows and counts into the mapping it is given.

    Raises:
        DataError: nothing was made, or the folder cannot be written.
    """
    folder = cache_dir / fingerprint
    if not os.path.isdir(folder):
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=cache_dir))
        except OSError as error:
            raise DataError(
                f"the folder {str(cache_dir)!r} for tokenised rows cannot be written ({error.strerror}); set cache_dir"
            ) from error
        try:
            _write(unfinished, seq_len, make)
            _publish(unfinished, folder)
        except OSError as error:
            raise DataError(
                f"the tokenised rows cannot be written to {str(cache_dir)!r} ({error.strerror}); set cache_dir"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return RowStore(folder)


def _write(folder: Path, seq_len: int, make: Callable[[dict[str, int]], Iterator[Row]]) -> None:
    counts: dict[str, int] = {}
    rows = supervised = 0
    files = {name: (folder / f"{name}.bin").open("wb") for name in _DTYPES}
    try:
        for row in make(counts):
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(row, name), dtype=_DTYPES[name]).tobytes())
            rows += 1
            supervised += int(row.supervised.sum())
    finally:
        for file in files.values():
            file.close()
    if not rows:
        raise DataError(NO_ROWS)
    meta = {"rows": rows, "seq_len": seq_len, "supervised_tokens": supervised, **counts}
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        os.rename(unfinished, folder)
    except OSError:
        # Another process was faster; its rows are the same.
        if not os.path.isdir(folder):
            raise
