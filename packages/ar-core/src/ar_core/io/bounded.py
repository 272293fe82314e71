"""Files whose readers ask for as much as the file says."""

from collections.abc import Callable
from typing import IO

__all__ = ["Bounded"]


class Bounded:
    """A file that is asked for at most so many bytes at once: Python takes memory for what is asked, whether it is there or not.

    Args:
        file: binary; it is read from where it stands.
        most: bytes.
        refuse: makes the error of a number that is too large.
    """

    def __init__(self, file: IO[bytes], most: int, refuse: Callable[[int], Exception]) -> None:
        self._file, self._most, self._refuse = file, most, refuse
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        """The next bytes, fewer at the end of the file."""
        if count > self._most:
            raise self._refuse(count)
        return self._file.read(count)
