"""A long job that survives being killed: one line of JSON for each finished piece of work."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import CheckpointError, ResumeError
from ..io import lock_file
from ..json_text import parse_json

__all__ = ["Journal"]


class Journal:
    """Finished pieces of a job, by key, in a JSON Lines file; opening an existing one continues it.

    The first line says what job it is. A line that was cut off (the process died while it was written) is dropped, so that
    this piece is done again; every line that ``add`` returned from is on the disk.

    Args:
        path: the file; its folder is made.
        job: what decides the result of a piece of work, as plain JSON data.
        key: names of the fields that tell pieces apart.

    Raises:
        ResumeError: the file belongs to another job, is none of ours, or another process writes it.
        CheckpointError: the operating system refuses.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], key: tuple[str, ...]) -> None:
        self.path, self._key = path, key
        self.done: dict[tuple[Any, ...], dict[str, Any]] = {}
        """Finished pieces by their key, in the order in which they were finished."""
        header = {"job": json.loads(json.dumps(job))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Appending neither empties a file of another kind nor one that another process writes.
            self._file = path.open("ab")
            try:
                if not lock_file(self._file, wait=False):
                    raise ResumeError(
                        f"another process writes {str(path)!r}; wait for it, stop it, or give another place."
                    )
                kept = self._read(header)
                self._file.truncate(kept)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise self._refused(error) from error
        if not kept:
            self._write(header)

    def __contains__(self, key: object) -> bool:
        return key in self.done

    def __len__(self) -> int:
        return len(self.done)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """Note a finished piece; it is on the disk when this returns."""
        plain = json.loads(json.dumps(record))
        self._write(plain)
        self.done[tuple(plain[name] for name in self._key)] = plain

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _read(self, header: Mapping[str, Any]) -> int:
        """Take up what the file holds; the number of bytes that whole lines take."""
        kept = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                record = parse_json(line)
                piece = None if number == 1 else tuple(record[name] for name in self._key)
                hash(piece)
            except (ValueError, KeyError, TypeError) as error:
                raise ResumeError(
                    f"line {number} of {str(self.path)!r} is no line of this job's journal; move the file away to begin anew."
                ) from error
            if piece is None:
                self._check(record, header)
            else:
                self.done[piece] = record
            kept += len(line)
        return kept

    def _check(self, found: Any, header: Mapping[str, Any]) -> None:
        if found == header:
            return
        old, new = found.get("job") if isinstance(found, dict) else None, header["job"]
        name = None
        if isinstance(old, dict):
            names = sorted(old.keys() | new.keys())
            name = next((name for name in names if old.get(name) != new.get(name)), None)
        what = "is no journal of this job" if name is None else f"has another {name} than is asked for now"
        raise ResumeError(
            f"{str(self.path)!r} {what}; give the settings it was begun with, another --output, or --force to begin anew."
        )

    def _refused(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{str(self.path)!r} cannot be written ({error.strerror}); free space on that disk or give another place."
        )
