"""Files that appear only when complete."""

import json
import os
import tempfile
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import typer
from ar_core.errors import CheckpointError, ConfigError
from ar_core.json_text import read_json
from ar_core.result_files import require_apart

__all__ = ["GrowingFile", "check_targets", "write_text"]


def check_targets(
    results: Mapping[str, Path | None],
    *,
    force: bool,
    resume: bool = False,
    read: Mapping[str, Path | None] = MappingProxyType({}),
) -> None:
    """Raise before any work is done if a result could not be written, or would overwrite a file.

    Args:
        results: by the names of their options; None is none.
        force: files may be overwritten.
        resume: what an interrupted run kept may be there, since it is gone on with.
        read: files that the command reads, by the names of their options; no result may take their place, with ``force`` neither.

    Raises:
        ConfigError: a file exists (or what an interrupted run kept of it) and ``force`` is off, it is a folder, two paths lead to
            one file, or its folder cannot be written.
    """
    given = {name: path for name, path in results.items() if path is not None}
    require_apart({**given, **{f"the unfinished {name}": _partial(path) for name, path in given.items()}}, read)
    for path in given.values():
        if path.is_dir():
            raise ConfigError(f"the result {str(path)!r} is a folder; give the name of a file.")
        if path.exists() and not force:
            raise ConfigError(
                f"the file {str(path)!r} exists; give another --output, move it away, or --force to overwrite it."
            )
        if _partial(path).exists() and not force and not resume:
            raise ConfigError(
                f"the file {str(_partial(path))!r} was kept from a run that did not finish; give another --output, move it away, "
                "--force to overwrite it, or --resume where the command has it."
            )
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(
                f"nothing can be written for {str(path)!r} in {str(folder)!r} ({error.strerror}); give a place that is writable."
            ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file complete or not at all; its folder is made.

    Raises:
        CheckpointError: the place cannot be written.
    """
    from ar_core.io import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class GrowingFile:
    """A file of lines that gather in ``NAME.partial`` and take its place when the ``with`` block ends without an error.

    After an error or Ctrl-C the whole lines stay in ``NAME.partial``, and the user is told: an error carries it as a note.

    Args:
        path: the file; its folder is made.
        job: what decides the lines, JSON-able; kept beside them in ``NAME.partial.job``.
        resume: keep the whole lines of an interrupted run of the same job, if there are any, and go on behind them.

    Raises:
        ResumeError: what was kept is of another job; names what differs.
        CheckpointError: the operating system refuses (disk full, no permission ...).
    """

    def __init__(self, path: Path, job: Mapping[str, Any] | None = None, *, resume: bool = False) -> None:
        self._path, self._partial = path, _partial(path)
        self._job = json.loads(json.dumps(job or {}))
        self._note = self._partial.with_name(f"{self._partial.name}.job")
        self._resume = resume
        self._lines = self._bytes = 0

    def __len__(self) -> int:
        """Whole lines in the file, those of an interrupted run among them."""
        return self._lines

    def __enter__(self) -> "GrowingFile":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._kept() if self._resume and self._partial.is_file() else b""
            self._file = FileIO(self._partial, "r+" if kept else "w")
            self._file.truncate(len(kept))
            self._file.seek(len(kept))
            if not kept:
                # Behind the lines of another job being gone, and before the first of this one.
                write_text(self._note, json.dumps(self._job) + "\n")
        except OSError as error:
            raise self._refused(error) from error
        self._lines, self._bytes = kept.count(b"\n"), len(kept)
        return self

    def _kept(self) -> bytes:
        """The whole lines of an interrupted run, after a check that it was this job."""
        from ar_core.training.identity import require_same_run

        data = self._partial.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return whole
        try:
            job = read_json(self._note)
        except (FileNotFoundError, ValueError):
            job = {}
        require_same_run(job, self._job, self._partial)
        return whole

    def append(self, line: str) -> None:
        """Add one line; it is in the file when this returns."""
        data = memoryview(f"{line}\n".encode())
        size = len(data)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._refused(error) from error
        self._lines += 1
        self._bytes += size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            # What a full disk left of a line is no line.
            file.truncate(self._bytes)
            if error is None:
                os.fsync(file.fileno())
        if error is None:
            os.replace(self._partial, self._path)
            self._note.unlink()
        elif not self._lines:
            self._partial.unlink()
            self._note.unlink()
        else:
            kept = f"the finished lines ({self._lines}) are kept in {str(self._partial)!r}."
            if isinstance(error, KeyboardInterrupt):
                typer.echo(f"interrupted: {kept}", err=True)
            else:
                error.add_note(kept)

    def _refused(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{str(self._path)!r} cannot be written ({error.strerror}); free space on that disk or give another place."
        )


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")
