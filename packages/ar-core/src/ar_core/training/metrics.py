"""``metrics.jsonl``: one JSON object a line, appended while the run goes on."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..json_text import parse_json

__all__ = ["FILE", "MetricsFile"]

FILE = "metrics.jsonl"
"""Name of the file in the directory of a run."""


class MetricsFile:
    """The metrics of one run.

    Args:
        directory: Where ``metrics.jsonl`` lies.
        step: Optimiser steps done; lines of later steps, written by a process that died before its next checkpoint, are
            cut off, and so is a line that was not written to its end.

    Raises:
        CheckpointError: Here and in all methods: the disk is full, or the file cannot be written.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._path = directory / FILE
        with self._one_sentence():
            directory.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                os.truncate(self._path, _length_up_to(self._path, step))
            # Unbuffered, so that closing has nothing left to write and cannot fail a second time.
            self._file = self._path.open("ab", buffering=0)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record, which has its optimiser step under ``step``; numbers that are none become null."""
        with self._one_sentence():
            self._file.write((json.dumps(_plain(record), allow_nan=False) + "\n").encode())

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        with self._one_sentence():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with self._one_sentence():
            self._file.close()

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{str(self._path)!r} cannot be written ({error.strerror}): make room or choose another checkpoint_dir; "
                "the checkpoints that are there stay as they are"
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _length_up_to(path: Path, step: int) -> int:
    length = 0
    with path.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or parse_json(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            length += len(line)
    return length
