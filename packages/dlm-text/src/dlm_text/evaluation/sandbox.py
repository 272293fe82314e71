"""Generated programs, run where they can do little harm.

Each runs in a process of its own: another interpreter that sees no environment variables and no user packages, in an empty
temporary folder, with limits of time, memory, file size and open files, in a network namespace without interfaces where the
kernel allows it, behind an audit hook that refuses sockets, new processes and changes of files outside the folder. That stops
programs that are wrong. It is no boundary against one that is written to attack: put those into a virtual machine.
"""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ar_core.errors import ConfigError

__all__ = ["Execution", "Limits", "run_program", "sandbox_description"]

_CHILD = Path(__file__).with_name("sandboxed_program.py")
_LAST = 2000
"""Bytes of the error output that are looked at."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: wall clock (and, rounded up, processor time).
        memory_mib: address space.
        file_mib: size of a file it writes.

    Raises:
        ConfigError: one is not positive.
    """

    seconds: float = 10.0
    memory_mib: int = 2048
    file_mib: int = 16

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.memory_mib < 1 or self.file_mib < 1:
            raise ConfigError(f"the limits of the sandbox are {self}; each must be positive.")


@dataclass(frozen=True)
class Execution:
    """How a program ended.

    Attributes:
        passed: it ran to its very end without an exception.
        reason: empty if it passed; else the exception, ``timeout``, the signal, or that it left early.
        isolation: what held: ``network`` and ``limits``.
    """

    passed: bool
    reason: str
    isolation: dict[str, Any]


def run_program(source: str, limits: Limits | None = None) -> Execution:
    """Run a Python program to its end.

    Args:
        source: the program. A program that ends itself early (``sys.exit(0)``, ``os._exit(0)``) has not passed.
        limits: default: 10 s, 2 GiB.
    """
    limits = limits or Limits()
    word = secrets.token_hex(16)
    size = 2**20
    settings = {
        "CPU": math.ceil(limits.seconds) + 1,
        "AS": limits.memory_mib * size,
        "FSIZE": limits.file_mib * size,
        "NOFILE": 64,
        "CORE": 0,
    }
    with tempfile.TemporaryDirectory(prefix="sandbox-") as place:
        program, errors, folder = Path(place, "program.py"), Path(place, "errors"), Path(place, "work")
        # Lone surrogates can be generated and are no UTF-8: Python itself refuses such a source.
        program.write_text(source, encoding="utf-8", errors="replace")
        folder.mkdir()
        with errors.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(_CHILD), str(program), json.dumps(settings)],
                cwd=folder,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(f"{word}\n".encode(), timeout=limits.seconds)
                timed_out = False
            except subprocess.TimeoutExpired:
                said, timed_out = b"", True
            finally:
                _kill(process)
            if timed_out:
                said, _ = process.communicate()
        lines = said.decode(errors="replace").splitlines()
        isolation = json.loads(lines[0]) if lines and lines[0].startswith("{") else {}
        if timed_out:
            return Execution(False, "timeout", isolation)
        if lines[-1:] == [word] and process.returncode == 0:
            return Execution(True, "", isolation)
        return Execution(False, _reason(process.returncode, errors.read_bytes()[-_LAST:]), isolation)


def sandbox_description() -> dict[str, Any]:
    """What isolation this machine gives, found by running an empty program; JSON-able."""
    limits = Limits()
    return {"seconds": limits.seconds, "memory_mib": limits.memory_mib, **run_program("", limits).isolation}


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the whole session, so that nothing a program started outlives it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _reason(code: int, errors: bytes) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 0 or not lines:
        return f"left early with exit code {code}"
    return lines[-1][:200]
