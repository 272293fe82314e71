"""One process at a time, by a lock that the kernel drops when its holder ends, however it ends."""

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # not there on Windows

__all__ = ["lock_file"]


def lock_file(file: IO[bytes] | IO[str], *, wait: bool) -> bool:
    """Lock an open file for this process until the file is closed.

    Args:
        file: opened for writing.
        wait: until another holder lets go.

    Returns:
        False if another process holds it and `wait` is off. Where the platform has no such locks, always True.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
