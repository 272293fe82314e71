"""Commands that are executed, in this process where a program is Python: a process of its own would import torch again."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from .resolving import SnippetError

__all__ = ["captured", "run", "runnable"]

OF_THE_SYSTEM = frozenset({"cat", "cp", "head", "ls", "mkdir", "mv", "rm", "tail", "wc"})
CONVERSATION = "Why is the sky blue?\nAnd at night?\n"
"""What is typed where a command asks."""
SECONDS = 120


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
    return (
        words[0] in PROGRAMS or words[0] in OF_THE_SYSTEM or words[0] in ("cd", "export") or _module(words) is not None
    )


def run(words: Sequence[str]) -> str:
    """Execute a command in the current folder; what it prints, on both streams.

    Raises:
        SnippetError: its exit code is not 0, with what it printed.
    """
    if words[0] == "cd":
        os.chdir(words[1])
        return ""
    if words[0] == "export":
        for word in words[1:]:
            name, _, value = word.partition("=")
            os.environ[name] = value
        return ""
    if words[0] in OF_THE_SYSTEM:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
        code, said = done.returncode, done.stdout + done.stderr
    else:
        module = _module(words)
        with captured() as written:
            if module is None:
                code = _call(PROGRAMS[words[0]](), words)
            else:
                code = _call(lambda: runpy.run_module(module, run_name="__main__"), words[2:])
        said = written.getvalue()
    if code:
        raise SnippetError(f"exit code {code}:\n{said}")
    return said


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """What is written to both streams, in the order in which it is written."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        yield written


def _module(words: Sequence[str]) -> str | None:
    if words[0] in ("python", "python3") and len(words) > 2 and words[1] == "-m" and words[2].startswith("benchmarks."):
        return words[2]
    return None


def _call(main: Callable[[], Any], words: Sequence[str]) -> int:
    with mock.patch.object(sys, "argv", list(words)), mock.patch.object(sys, "stdin", io.StringIO(CONVERSATION)):
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    return code if isinstance(code, int) else int(code is not None and not isinstance(code, dict))
