"""Lines that were never run before: an input that runs one is worth mutating further."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

__all__ = ["NewLines"]

WATCHED = (
    "/ar_core/",
    "/ar_vision/",
    "/dlm_text/",
    "/dvlm/",
    "/ar_decode/",
    "/ar_train/",
    "/yaml/",
    "/PIL/",
    "/numpy/lib/",
    "/torch/serialization.py",
    "/torch/_weights_only_unpickler.py",
    "/tarfile.py",
    "/zipfile.py",
    "/gguf/",
)
"""Parsers that are ours, and those written in Python that ours call."""


class NewLines:
    """Counts lines of watched files as they are run for the first time.

    A code object whose lines were all seen is not traced any more, so that tracing costs little after the first inputs.
    """

    def __init__(self) -> None:
        self.total = 0
        self._unseen: dict[CodeType, set[int]] = {}
        self._done: set[CodeType] = set()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is run inside."""
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code in self._done:
            return None
        if code not in self._unseen:
            if not any(part in code.co_filename for part in WATCHED):
                self._done.add(code)
                return None
            self._unseen[code] = {line for _, _, line in code.co_lines() if line is not None}
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            unseen = self._unseen[frame.f_code]
            if frame.f_lineno in unseen:
                unseen.discard(frame.f_lineno)
                self.total += 1
                if not unseen:
                    self._done.add(frame.f_code)
        return self._line
