"""Records of a data set, one by one, each with the place it came from."""

import gzip
import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from ..config import expand_path
from ..errors import DataError, MissingPackageError
from ..json_text import parse_json
from .config import TextDataConfig
from .tasks import Task, find_task

__all__ = ["FileRecords", "HubRecords", "Record", "Records", "TaskRecords", "held_out", "open_records", "read_records"]

Split = Literal["train", "held_out"]

LONGEST = 32 << 20
"""Bytes of a line; compressed files may hold lines that no memory holds."""
FREELY, RATIO = 64 << 20, 100
"""Bytes that any compressed file may expand to, and how many times its size beyond them: text shrinks to a third or a tenth."""


@dataclass(frozen=True)
class Record:
    """One mapping of a data set."""

    place: str
    """What it is called in messages: file and line."""
    data: dict[str, Any]
    """The mapping."""


class Records(Protocol):
    """A data set that can be read more than once, always in the same order."""

    @property
    def fingerprint(self) -> str:
        """Hash of the content (of name and size where content is not at hand): changes when the data change."""
        ...

    @property
    def total(self) -> int | None:
        """How many records there are, if that is known without reading them."""
        ...

    def __iter__(self) -> Iterator[Record]: ...


class FileRecords:
    """A JSON Lines file, compressed with gzip or not. Blank lines are passed over.

    Iterating raises :class:`~ar_core.errors.DataError`, with file and line number, where a line is not one JSON object or longer than
    32 MiB, and where a compressed file expands to more than 64 MiB and a hundred times its size.
    """

    total = None

    def __init__(self, path: Path) -> None:
        if not os.path.isfile(path):
            found = "is a folder" if os.path.isdir(path) else "does not exist"
            raise DataError(f"the data file {str(path)!r} {found}; give a JSON Lines file, .gz or not")
        self.path = path

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def __iter__(self) -> Iterator[Record]:
        number = 0
        unpack = gzip.open if self.path.suffix == ".gz" else open
        try:
            with unpack(self.path, "rb") as lines:
                total, most = 0, max(FREELY, RATIO * self.path.stat().st_size)
                while line := lines.readline(LONGEST + 1):
                    number += 1
                    total += len(line)
                    if len(line) > LONGEST:
                        raise DataError(
                            f"{self.path}, line {number}: this line has more than {LONGEST} bytes; write one JSON object a line"
                        )
                    if total > most:
                        raise DataError(
                            f"{self.path} expands to more than {RATIO} times its size, as no text does; fetch it again, or unpack it"
                        )
                    if line.strip():
                        yield Record(f"{self.path}, line {number}", self._parse(line, number))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.path}: the gzip stream is damaged after line {number} ({error}); fetch the file again"
            ) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}); correct the path") from error

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            data = parse_json(line)
        except ValueError as error:
            raise DataError(
                f"{self.path}, line {number}: this is not valid JSON ({error}); write one JSON object a line, in UTF-8"
            ) from error
        if not isinstance(data, dict):
            raise DataError(
                f"{self.path}, line {number}: this is a JSON {type(data).__name__}, not an object; write one a line"
            )
        return data


class HubRecords:
    """A data set from the hub, or a local folder in the layout of the ``datasets`` library."""

    def __init__(self, path: str, name: str | None, split: str, streaming: bool) -> None:
        try:
            import datasets
        except ImportError as error:
            raise MissingPackageError(
                f"the data set {path!r} needs the package datasets; install it with `pip install 'ar-core[train]'`"
            ) from error
        self.path = path
        try:
            self._set = datasets.load_dataset(path, name, split=split, streaming=streaming)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path!r} is no file here and cannot be loaded from the hub ({reason}); correct the path or id"
            ) from error
        self._identity = (path, name, split)

    @property
    def fingerprint(self) -> str:
        """What ``datasets`` computed from the content; name and split where the set is streamed."""
        return str(
            getattr(self._set, "_fingerprint", None) or hashlib.sha256(repr(self._identity).encode()).hexdigest()
        )

    @property
    def total(self) -> int | None:
        """Number of records; None where the set is streamed."""
        return len(self._set) if hasattr(self._set, "__len__") else None

    def __iter__(self) -> Iterator[Record]:
        for number, data in enumerate(self._set, start=1):
            yield Record(f"{self.path}, record {number}", dict(data))


class TaskRecords:
    """Problems of a task as records with ``prompt`` and ``completion``; without ``count`` they never end."""

    def __init__(self, source: Task, split: Split, seed: int, count: int | None) -> None:
        self._task, self._split, self._seed, self.total = source, split, seed, count

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the problems (of the first 1,000 of an endless stream), so that a changed generator is noticed."""
        digest = hashlib.sha256(repr((self._task.name, self._split, self._seed, self.total)).encode())
        for record in itertools.islice(self, 1000 if self.total is None else None):
            digest.update(json.dumps(record.data).encode())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Record]:
        problems = itertools.islice(self._task.problems(self._split, self._seed), self.total)
        for number, (prompt, answer) in enumerate(problems, start=1):
            yield Record(f"{self._task.name}, problem {number}", {"prompt": prompt, "completion": answer})


def read_records(config: TextDataConfig, split: Split) -> Records:
    """The records that ``config`` names; a task's own split is applied here, a file's by :func:`held_out`.

    Raises:
        DataError: the path is neither a file nor a hub data set.
        ConfigError: no such task.
    """
    if config.kind == "task":
        assert config.task is not None
        return TaskRecords(find_task(config.task), split, config.task_seed, config.count)
    assert config.path is not None
    return open_records(config.path, config.hub_name, config.hub_split, config.streaming)


def open_records(path: str, name: str | None, split: str, streaming: bool = False) -> Records:
    """The records of a JSON Lines file, or of a split of a hub data set (or a local folder in its layout).

    Raises:
        DataError: the path is neither a file nor a hub data set.
        MissingPackageError: a hub set without the package ``datasets``.
    """
    local = expand_path(path)
    looks_local = local.suffix in (".jsonl", ".json", ".gz", ".txt") or local.is_absolute() or path.startswith(".")
    if os.path.isfile(local) or (looks_local and not os.path.isdir(local)):
        try:
            return FileRecords(local)
        except DataError as error:
            raise DataError(f"{error}, or a hub id") from error
    return HubRecords(str(local), name, split, streaming)


def held_out(data: dict[str, Any], share: float) -> bool:
    """Whether a record is held out: a function of its content alone, True for about ``share`` of all contents."""
    digest = hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
