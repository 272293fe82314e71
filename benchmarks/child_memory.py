"""A command in a process of its own, and the most memory that it alone has held."""

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import DataError

__all__ = ["Finished", "run_alone"]

EVERY = 0.02
"""Seconds between looks at a process."""


@dataclass(frozen=True)
class Finished:
    """What a command took."""

    seconds: float
    peak_mebibytes: float


def run_alone(command: Sequence[str]) -> Finished:
    """Run a command to its end.

    The kernel's high-water mark of the process is read until it ends. `getrusage` of children is not asked: it tells the largest of all
    children so far, and counts the parent's own memory as a child's until that begins its program.

    Args:
        command: program and arguments.

    Raises:
        DataError: it failed, or this system does not tell the memory of a process.
    """
    marks: list[int] = []
    begun = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status = Path("/proc") / str(running.pid) / "status"

    def watch() -> None:
        while running.poll() is None:
            marks.extend(_mark(status))
            time.sleep(EVERY)

    watching = threading.Thread(target=watch)
    watching.start()
    _, said = running.communicate()
    watching.join()
    if running.returncode:
        raise DataError(f"the command `{' '.join(command)}` failed: {said.strip()}")
    if not marks:
        raise DataError(f"{status} does not tell how much memory a process has held: measure on Linux")
    return Finished(time.perf_counter() - begun, marks[-1] / 1024)


def _mark(status: Path) -> list[int]:
    """KiB, or nothing of a process that has ended."""
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
