"""One process at a time in a checkpoint directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResumeError

__all__ = ["directory_lock"]


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold the directory for this process; the kernel lets go when the process ends, however it ends.

    Raises:
        ResumeError: Another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResumeError(
                f"another process is training in {directory}: wait for it, stop it, or choose another checkpoint_dir"
            ) from error
        yield
