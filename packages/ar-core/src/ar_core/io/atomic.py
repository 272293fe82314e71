"""Files and directories that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from ..errors import CheckpointError, ConfigError

__all__ = [
    "TEMPORARY",
    "atomic_directory",
    "atomic_file",
    "joined_directory",
    "require_kept",
    "require_replaceable",
    "sync",
    "sync_tree",
]

TEMPORARY = ".tmp-"
"""How the names of things not yet complete begin."""


def sync(path: str | Path) -> None:
    """Wait until a file's content, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: str | Path) -> None:
    """Wait until everything in a directory is on the disk."""
    for folder, _, files in os.walk(directory):
        for name in files:
            sync(os.path.join(folder, name))
        sync(folder)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what was written there takes its place at the end.

    If the block raises, the process dies or the disk is full, ``path`` is as it was.

    Raises:
        CheckpointError: The operating system refuses (disk full, no permission ...).
    """
    path = Path(path)
    temporary = _beside(path)
    with _refusals_named(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)


@contextmanager
def atomic_directory(path: str | Path, *, replace: bool = False, shared: str | None = None) -> Iterator[Path]:
    """Yield an empty temporary directory beside ``path`` that takes its place at the end, every file in it on the disk.

    If the block raises, the process dies or the disk is full, ``path`` is as it was. Replacing an existing directory is
    two renames: whoever dies between them finds the old one under a name that begins with ``.tmp-``.

    Args:
        path: The directory that appears.
        replace: Put it in the place of an existing directory of that name.
        shared: What these processes are called together, if others write into it by :func:`joined_directory`, once it is yielded here.

    Raises:
        CheckpointError: It exists already, is a file or a link, or the operating system refuses (disk full, no permission ...).
    """
    path = Path(path)
    _require_folder(path)
    if path.exists() and not replace:
        raise CheckpointError(f"{path} exists already: choose another directory, or remove it first")
    temporary = _beside(path) if shared is None else _joined(path, shared)
    with _refusals_named(path, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        sync_tree(temporary)
        if path.exists():
            old = _beside(path, "old-")
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
        sync(path.parent)


def _beside(path: Path, prefix: str = "") -> Path:
    # On machines that share a folder, containers above all, processes have the same ids.
    return path.parent / f"{TEMPORARY}{prefix}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"


def _joined(path: Path, shared: str) -> Path:
    return path.parent / f"{TEMPORARY}{path.name}-{shared}"


def require_replaceable(
    directory: str | Path, marks: Sequence[str] = ("config.json",), what: str = "checkpoint"
) -> None:
    """Refuse to write a checkpoint where something else is.

    Args:
        directory: may be absent, empty, or hold a checkpoint.
        marks: files of which every checkpoint that may be replaced has one.
        what: names what is written there, where it is no checkpoint.

    Raises:
        CheckpointError: it is a file, a link, or a folder that holds something else.
    """
    directory = Path(directory)
    _require_folder(directory)
    if directory.is_dir() and any(directory.iterdir()) and not any((directory / mark).is_file() for mark in marks):
        raise CheckpointError(
            f"{directory} is a folder that holds no {what}, and would be replaced; choose another directory, or empty it."
        )


def require_kept(source: str | Path, destination: str | Path) -> None:
    """Refuse to write a folder in the place of what is read for it.

    Args:
        source: a file or a folder.
        destination: the folder that is written.

    Raises:
        ConfigError: the destination is the source or holds it.
    """
    if Path(source).resolve().is_relative_to(Path(destination).resolve()):
        raise ConfigError(
            f"the destination {str(destination)!r} is the source or holds it, and the checkpoint would be replaced; give another"
        )


def _require_folder(path: Path) -> None:
    """A file or a link would be moved away before the folder takes its place, and what is moved could not be removed."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise CheckpointError(
            f"{path} is {'a link' if path.is_symlink() else 'a file'}, and a folder is to be written there: choose another directory"
        )


@contextmanager
def joined_directory(path: str | Path, shared: str) -> Iterator[Path]:
    """Yield the temporary directory of an :func:`atomic_directory` that another process shares; write files of one's own names.

    Args:
        path: The directory that appears.
        shared: What these processes are called together.

    Raises:
        CheckpointError: The operating system refuses (disk full, no permission ...).
    """
    path = Path(path)
    with _refusals_named(path, None):
        yield _joined(path, shared)


@contextmanager
def _refusals_named(path: Path, temporary: Path | None) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if temporary is None:
            pass
        elif temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            # Where the folder itself cannot be there, removing complains a second time.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        # Tensors are written by native code, which reports a full disk as an error of its own kind.
        if isinstance(error, (OSError, SafetensorError)):
            reason = getattr(error, "strerror", None) or str(error)
            raise CheckpointError(
                f"{path} cannot be written ({reason}): what lay there before is unchanged, "
                "free space on that disk or choose another directory"
            ) from error
        raise
