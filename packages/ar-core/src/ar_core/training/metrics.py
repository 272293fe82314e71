"""``metrics.jsonl``: one JSON object a line, appended while the run goes on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FILE", "MetricsFile"]

FILE = "metrics.jsonl"


class MetricsFile:
    """The metrics of one run.

    Args:
        directory: Where ``metrics.jsonl`` lies.
        step: Optimiser steps done; lines of later steps, written by a process that died before its next checkpoint, are
            cut off, and so is a line that was not written to its end.
    """

    def __init__(self, directory: Path, step: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE
        if path.exists():
            os.truncate(path, _length_up_to(path, step))
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record, which has its optimiser step under ``step``."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _length_up_to(path: Path, step: int) -> int:
    length = 0
    with path.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            length += len(line)
    return length
