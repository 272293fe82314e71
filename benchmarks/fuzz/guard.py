"""What a loader must not do with any input: run code from it, start processes, connect, or leave the input's folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["MARK", "Guard"]

MARK = "ar_fuzz_canary"
"""In the text of every payload that malicious inputs carry, and in the name of the file that it would write."""

FORBIDDEN = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.system",
        "pickle.find_class",
        "pty.spawn",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
    }
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Guard:
    """Watches the process by an audit hook, which cannot be taken away again.

    Args:
        room: folder that holds the input's folder and files beside it that no contained loader may open.
        folder: the input's.
        contained: see :class:`~benchmarks.fuzz.loader.Loader`.
    """

    def __init__(self, room: Path, folder: Path, contained: bool) -> None:
        self._room, self._folder, self._contained = f"{room}{os.sep}", f"{folder}{os.sep}", contained
        self._canary = room / MARK
        self._watching = False
        self.found: list[str] = []
        """What was done under :meth:`watching`."""
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what happens inside."""
        self.found = []
        self._watching = True
        try:
            yield
        finally:
            self._watching = False
            if self._canary.exists():
                self._canary.unlink()
                self.found.append("the canary was written")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in FORBIDDEN:
            self.found.append(f"{event} {arguments!r:.200}")
        elif event == "exec":
            # Compiling alone runs nothing: NumPy reads its headers as literals, by the parser.
            if MARK in repr(getattr(arguments[0], "co_consts", ())):
                self.found.append("ran a payload")
        elif event == "open":
            self._opened(*arguments)

    def _opened(self, path: Any, mode: Any, flags: int) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        place = os.path.normpath(os.path.abspath(os.fsdecode(path)))
        # The folder itself is opened to bring what was renamed in it to the disk.
        if f"{place}{os.sep}".startswith(self._folder):
            return
        if place.startswith(self._room):
            if self._contained:
                self.found.append(f"opened {place[len(self._room) :]} beside the input")
        elif flags & WRITING and place != os.devnull and "__pycache__" not in place:
            self.found.append(f"wrote to {place}")
