"""Files that appear only when complete."""

import os
import tempfile
from io import FileIO
from pathlib import Path
from types import TracebackType

import typer
from ar_core.errors import CheckpointError, ConfigError

__all__ = ["GrowingFile", "check_targets", "write_text"]


def check_targets(*paths: Path | None, force: bool) -> None:
    """Raise before any work is done if a result could not be written, or would overwrite a file.

    Raises:
        ConfigError: a file exists (or what an interrupted run kept of it) and ``force`` is off, it is a folder, two paths are
            one, or its folder cannot be written.
    """
    given = [path for path in paths if path is not None]
    if len({path.absolute() for path in given}) < len(given):
        raise ConfigError(f"the file {str(given[0])!r} was given for two results; give each its own.")
    for path in given:
        if path.is_dir():
            raise ConfigError(f"the result {str(path)!r} is a folder; give the name of a file.")
        for old, what in ((path, "exists"), (_partial(path), "was kept from a run that did not finish")):
            if old.exists() and not force:
                raise ConfigError(
                    f"the file {str(old)!r} {what}; give another --output, move it away, or --force to overwrite it."
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

    Raises:
        CheckpointError: the operating system refuses (disk full, no permission ...).
    """

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, _partial(path)
        self._lines = self._bytes = 0

    def __enter__(self) -> "GrowingFile":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._partial, "w")
        except OSError as error:
            raise self._refused(error) from error
        return self

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
        elif not self._lines:
            self._partial.unlink()
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
