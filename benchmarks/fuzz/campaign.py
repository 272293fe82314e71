"""All inputs of a loader, through as many processes as it takes."""

import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.io import save_tensors

from .judge import FAULTS, LIMIT_S
from .loader import Loader
from .loaders.checkpoints import small_tensors
from .worker import work

__all__ = ["Campaign", "fuzzed"]

STARTING_S = 300.0
"""A process may take so long before its first input: it reads what was kept, and may wait for a CPU."""
STUCK_S = 60.0
"""Wall seconds of an input that uses no CPU time."""
TICKS = os.sysconf("SC_CLK_TCK")
MOST_TOLD = 10
FAILED = 97
"""Exit code of a child whose own code failed."""


@dataclass
class Campaign:
    """What came of the inputs of a loader.

    Attributes:
        counts: inputs of each kind; see :mod:`~benchmarks.fuzz.judge`.
        faults: number, kind and detail of each.
        seconds: CPU time of the inputs; of the slowest.
        lines: of our code and of Python parsers below it that were run.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    lines: int = 0

    def add(self, told: dict[str, Any]) -> None:
        """Take up what came of an input."""
        self.counts[told["kind"]] += 1
        self.seconds += told["seconds"]
        self.slowest = max(self.slowest, told["seconds"])
        self.lines = max(self.lines, told.get("lines", 0))
        if told["kind"] in FAULTS:
            self.faults.append({key: told.get(key, "") for key in ("number", "kind", "detail")})

    def row(self) -> dict[str, Any]:
        """Numbers of a results file; the first of the faults that differ."""
        kinds = {kind: self.counts[kind] for kind in ("accepted", "refused", *FAULTS)}
        differing = {(fault["kind"], fault["detail"][:80]): fault for fault in reversed(self.faults)}
        told = sorted(differing.values(), key=lambda fault: fault["number"])[:MOST_TOLD]
        numbers = {"seconds": round(self.seconds, 1), "slowest": round(self.slowest, 2), "lines": self.lines}
        return {"inputs": sum(kinds.values()), **kinds, **numbers, "faults": told}


def fuzzed(loader: Loader, seed: int, inputs: int, room: Path, tell: Callable[[dict[str, Any]], None]) -> Campaign:
    """Let a loader read so many hostile inputs.

    A process that ends or hangs at one is replaced by another, which goes on behind it with what was kept so far.

    Args:
        loader: reads.
        seed: of the inputs.
        inputs: their number.
        room: folder for inputs; those that are faults stay in ``faults``, by their number.
        tell: called with each fault.
    """
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    # A valid file beside the input, which no contained loader may open.
    save_tensors(room / "outside.safetensors", small_tensors())
    # What is imported at the first use is imported here, once for all children.
    for write in loader.seeds():
        shutil.rmtree(room / "input", ignore_errors=True)
        (room / "input").mkdir()
        write(room / "input")
        loader.read(room / "input")
    campaign = Campaign()

    def add(told: dict[str, Any]) -> None:
        campaign.add(told)
        if told["kind"] in FAULTS:
            tell(campaign.faults[-1])

    first = 0
    while first < inputs:
        number, ended = _one_process(loader, seed, first, inputs, room, add)
        if ended is not None and ended["kind"] == "hung":
            # Tracing takes a multiple of the time.
            _, ended = _one_process(loader, seed, number, number + 1, room, add, traced=False)
        if ended is not None:
            faulty = room / "faults" / f"{number:07d}"
            shutil.rmtree(faulty, ignore_errors=True)
            shutil.copytree(room / "input", faulty)
            add({"number": number, "seconds": 0.0, **ended})
        first = number + 1
    return campaign


def _one_process(
    loader: Loader,
    seed: int,
    first: int,
    last: int,
    room: Path,
    add: Callable[[dict[str, Any]], None],
    traced: bool = True,
) -> tuple[int, dict[str, Any] | None]:
    """Read inputs from ``first`` on in a child; the last number it came to, and the fault if it ended or was ended there."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _in_child(loader, seed, first, last, room, writing, traced)
    os.close(writing)
    number, begun = first, False
    used, since, pending = 0.0, time.monotonic(), b""
    try:
        while True:
            if select.select([reading], [], [], 0.5)[0]:
                data = os.read(reading, 1 << 16)
                if not data:
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    told = json.loads(line)
                    if "kind" in told:
                        add(told)
                    number, begun = told["number"] + 1, True
                used, since = _cpu_seconds(child), time.monotonic()
                continue
            spent, waited = _cpu_seconds(child) - used, time.monotonic() - since
            stuck = spent > LIMIT_S + 1 or (waited > STUCK_S and spent < waited / 1000)
            if (begun and stuck) or spent > STARTING_S:
                return number, {
                    "kind": "hung",
                    "detail": f"stopped after {spent:.1f} s of CPU time, {waited:.1f} s in all",
                }
    finally:
        os.close(reading)
        if number < last:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number >= last:
        return number, None
    if code == FAILED:
        raise RuntimeError(
            f"{loader.name}: the process could not go on: {(room / 'log.txt').read_text(errors='replace')[-3000:]}"
        )
    return number, {"kind": "crashed", "detail": f"the process ended with {code}"}


def _in_child(loader: Loader, seed: int, first: int, last: int, room: Path, told: int, traced: bool) -> None:
    """Work, and end the process."""
    code = FAILED
    try:
        log = os.open(room / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable()
        work(loader, seed, first, last, room, told, traced=traced)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS
