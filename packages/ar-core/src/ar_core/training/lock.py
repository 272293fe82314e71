"""One process at a time in a checkpoint directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResumeError
from ..io import lock_file

__all__ = ["directory_lock"]


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold the directory for this process; the kernel lets go when the process ends, however it ends.

    Raises:
        ResumeError: Another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        if not lock_file(file, wait=False):
            raise ResumeError(
                f"another process is training in {directory}: wait for it, stop it, or choose another checkpoint_dir"
            )
        yield
