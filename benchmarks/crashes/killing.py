"""Shots at jobs: where each is killed, and whether what it leaves in the end is what an uninterrupted one leaves."""

import importlib.util
import random
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from .jobs import JOBS, ROOT

__all__ = ["Range", "Target", "harness", "spread", "started"]

ROUND = ("boundary", "boundary", "moment")
MOMENTS = 3
"""Shots at random times in one round of that kind, before the job is let run to its end."""


def harness() -> ModuleType:
    """The kill harness of ar-core's tests."""
    name = "ar_core_tests_training_kills"
    if name not in sys.modules:
        path = ROOT / "packages" / "ar-core" / "tests" / "training" / "kills.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def spread(count: int) -> Iterator[int]:
    """Yield 0 ... count - 1 so that the first few lie far apart: numbers in the order of their bits reversed, the start last."""
    bits = max(count - 1, 0).bit_length()
    for number in (*range(1, 2**bits), 0):
        place = int(f"{number:0{bits}b}"[::-1], 2) if bits else 0
        if place < count:
            yield place


@dataclass
class Target:
    """One job under fire.

    Attributes:
        name: of the job.
        expected: what the uninterrupted job left.
        seconds: that it took.
        boundaries: write boundaries that it has.
        row: what was found so far, as results hold it.
    """

    name: str
    expected: Any
    seconds: float
    boundaries: int
    row: dict[str, Any] = field(default_factory=dict)


def started(home: Path, names: Sequence[str]) -> Any:
    """A process that has done the named jobs once, and forks one for every start of them; a context manager.

    Args:
        home: where the starts of jobs are made, and kept for the next time.
        names: of the jobs.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = ROOT / "benchmarks" / "crashes" / "jobs.py"
    return harness().Runs(str(file), "work", home=str(home), names=list(names))


class Range:
    """Jobs that are shot at.

    Args:
        runs: starts of jobs by ``names=[name]``, as the harness makes them; see :func:`started`.
        shots: folder for what the jobs leave; emptied.
        rows: results so far, by name of job.
    """

    def __init__(self, runs: Any, shots: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.runs, self.shots, self.rows = runs, shots, rows
        shutil.rmtree(shots, ignore_errors=True)
        shots.mkdir(parents=True)
        self.targets: dict[str, Target] = {}

    def target(self, name: str) -> Target:
        """A job after a run of it that nobody kills and that counts its write boundaries."""
        if name not in self.targets:
            before = time.perf_counter()
            expected, boundaries = self._whole(name)
            seconds = time.perf_counter() - before
            row = {
                "kind": JOBS[name].kind,
                "done": [],
                "kills_at_boundaries": 0,
                "kills_at_moments": 0,
                "jobs": 0,
                "lost": [],
            }
            row |= self.rows.get(name, {})
            row["boundaries"] = boundaries
            self.targets[name] = Target(name, expected, seconds, boundaries, row)
        return self.targets[name]

    def _whole(self, name: str) -> tuple[Any, int]:
        directory = self.shots / "whole"
        boundaries = self.runs.boundaries(directory, names=[name])
        left = self.left(name, directory)
        shutil.rmtree(directory, ignore_errors=True)
        return left, boundaries

    def shoot(self, name: str) -> dict[str, Any]:
        """Kill a job some times, let it run to its end and compare; the job's row afterwards."""
        target = self.target(name)
        row, directory = target.row, self.shots / "shot"
        kind = ROUND[row["jobs"] % len(ROUND)]
        waiting = [one for one in spread(target.boundaries) if one not in row["done"]]
        where = f"boundary {waiting[0]}" if kind == "boundary" and waiting else "moments"
        try:
            if kind == "boundary" and waiting:
                # Killed again on the way back, where it repairs what the first shot left.
                for boundary in (waiting[0], waiting[0] // 2):
                    row["kills_at_boundaries"] += self.runs.killed_at(directory, boundary, names=[name])
                row["done"].append(waiting[0])
            else:
                moments = random.Random(f"{name} {row['jobs']}")
                for _ in range(MOMENTS):
                    after = moments.uniform(0.05, 0.9) * target.seconds
                    row["kills_at_moments"] += self.runs.killed_after(directory, after, names=[name])
            self.runs.uninterrupted(directory, names=[name])
            fault = _difference(target.expected, self.left(name, directory))
        except (AssertionError, OSError, ValueError) as error:
            # It could not be continued, or something that it leaves is not there or not whole.
            fault = f"{type(error).__name__}: {error}"
        if fault and self._whole(name)[0] != target.expected:
            fault += "; two runs that nobody kills differ too"
        row["jobs"] += 1
        if fault:
            row["lost"].append(f"{where}: {fault}")
        shutil.rmtree(directory, ignore_errors=True)
        return row

    def left(self, name: str, directory: Path) -> Any:
        """What a job left, but for what only killed processes leave and nobody reads."""
        told = JOBS[name].left
        if told is not None:
            return told(directory)
        state = harness().state(directory)
        files = {path: digest for path, digest in state["files"].items() if not path.startswith(".tmp-")}
        return {"files": files, "metrics": state["metrics"]}


def _difference(expected: Any, found: Any) -> str:
    if expected == found:
        return ""
    if not isinstance(expected, dict):
        return "what it left differs"
    for part in expected:
        if expected[part] != found[part]:
            if isinstance(expected[part], dict):
                before, after = expected[part], found[part]
                names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
                return f"{part} differ: {', '.join(names[:5])}"
            return f"{part} differ ({len(expected[part])} expected, {len(found[part])} found)"
    return "what it left differs"
