"""Commands that are executed, in this process where a program is Python: a process of its own would import torch again."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

from .resolving import SnippetError

__all__ = ["captured", "run", "runnable"]

OF_THE_SYSTEM = frozenset({"cat", "cp", "head", "ls", "mkdir", "mv", "rm", "tail", "wc"})
SECONDS = 120


@dataclass
class Printed:
    """What was written: to standard output, and to both streams in the order in which it was written."""

    output: str = ""
    both: str = ""

    def __add__(self, other: "Printed") -> "Printed":
        return Printed(self.output + other.output, self.both + other.both)


def _ar_train() -> Any:
    from ar_train.cli import main

    return main


def _ar_decode() -> Any:
    from ar_decode.cli import main

    return main


def _ar_quickstart() -> Any:
    from ar_quickstart.cli import main

    return main


def _tune() -> Any:
    from torchtune._cli.tune import main

    return main


PROGRAMS: Mapping[str, Callable[[], Any]] = {
    "ar-train": _ar_train,
    "ar-decode": _ar_decode,
    "ar-quickstart": _ar_quickstart,
    "tune": _tune,
}


def runnable(words: Sequence[str]) -> bool:
    """Whether a command can be executed here."""
    ours = words[0] in PROGRAMS or _file(words) or _module(words) is not None
    return ours or words[0] in OF_THE_SYSTEM or words[0] in ("cd", "export")


def run(words: Sequence[str], typed: str = "") -> Printed:
    """Execute a command in the current folder.

    Args:
        words: of the command.
        typed: a line that it reads, if it asks.

    Raises:
        SnippetError: its exit code is not 0, with what it printed.
    """
    if words[0] == "cd":
        os.chdir(words[1])
        return Printed()
    if words[0] == "export":
        for word in words[1:]:
            name, _, value = word.partition("=")
            os.environ[name] = value
        return Printed()
    if words[0] in OF_THE_SYSTEM or _file(words):
        # A file is given a process of its own, and so its variables from the start.
        command = [sys.executable, *words[1:]] if _file(words) else words
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        code, said = done.returncode, Printed(done.stdout, done.stdout + done.stderr)
    else:
        module = _module(words)
        with captured() as said:
            if module is None:
                code = _call(PROGRAMS[words[0]](), words, typed)
            else:
                code = _call(lambda: runpy.run_module(module, run_name="__main__"), words[2:], typed)
    if code:
        raise SnippetError(f"exit code {code}:\n{said.both}")
    return said


class _Stream(io.StringIO):
    def __init__(self, printed: Printed, *, output: bool) -> None:
        super().__init__()
        self.printed, self.output = printed, output

    def write(self, text: str) -> int:
        self.printed.both += text
        if self.output:
            self.printed.output += text
        return len(text)


@contextlib.contextmanager
def captured() -> Iterator[Printed]:
    """Catch both streams."""
    printed = Printed()
    with (
        contextlib.redirect_stdout(_Stream(printed, output=True)),
        contextlib.redirect_stderr(_Stream(printed, output=False)),
    ):
        yield printed


def _file(words: Sequence[str]) -> bool:
    return words[0] in ("python", "python3") and len(words) > 1 and words[1].endswith(".py")


def _module(words: Sequence[str]) -> str | None:
    if words[0] in ("python", "python3") and len(words) > 2 and words[1] == "-m" and words[2].startswith("benchmarks."):
        return words[2]
    return None


def _call(main: Callable[[], Any], words: Sequence[str], typed: str) -> int:
    with mock.patch.object(sys, "argv", list(words)), mock.patch.object(sys, "stdin", io.StringIO(f"{typed}\n")):
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    return code if isinstance(code, int) else int(code is not None and not isinstance(code, dict))
