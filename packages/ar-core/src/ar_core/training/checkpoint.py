"""Checkpoints of a run: written whole or not at all, found again, never half believed.

    <checkpoint_dir>/
      step-00000100/          appears by one rename, when everything in it is on the disk
        weights.safetensors   trained parameters and the persistent buffers of trained models
        optimizer.safetensors moments and step counts of AdamW
        ema.safetensors       the averaged weights, if the run keeps them
        run.json              step, samples seen, settings that define the run
        complete.json         size of each file above; written last
      metrics.jsonl
      final/                  what ``Job.save`` wrote, when the run is over
      final.json              the step it is of

Of a sharded run each tensor file is one a process, such as ``weights-00001-of-00002.safetensors``: rows of what is sharded, one part
after the other, and in the first file all else. Any number of processes reads either form.

The learning rate, the data position and every random number are functions of the step and the settings, so the step
number stands for them all.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, ResumeError
from ..io import atomic_directory, joined_directory, save_tensors, sync
from ..io.atomic import TEMPORARY
from ..json_text import read_json
from .meeting import Meeting
from .parts import Rows, read_parts

__all__ = ["Snapshot", "latest", "load", "prune", "save", "save_part", "steps_present"]

MARKER = "complete.json"
RUN = "run.json"
GROUPS = {"weights", "optimizer", "ema"}
NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Snapshot:
    """The state of a run between two optimiser steps.

    Args:
        step: Optimiser steps done.
        tensors: Groups of tensors by name: ``weights``, ``optimizer`` and, if the run averages, ``ema``.
        run: Settings that define the run, JSON-able.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    run: Mapping[str, Any]


def save(directory: Path, snapshot: Snapshot, keep: int) -> Path:
    """Write a checkpoint, then remove all but the newest ``keep`` complete ones.

    Raises:
        CheckpointError: The operating system refuses (disk full ...); earlier checkpoints are intact.
    """
    path = _path(directory, snapshot.step)
    with atomic_directory(path, replace=True) as temporary:
        _write_tensors(temporary, snapshot, 0, 1)
        _complete(temporary, snapshot, 1)
    _remove_old(directory, keep)
    return path


def save_part(directory: Path, snapshot: Snapshot, keep: int, meeting: Meeting) -> None:
    """Write this process's part of a checkpoint, all processes together; the first one completes it when every part is written.

    Raises:
        CheckpointError: The operating system refuses here or in another process; earlier checkpoints are intact.
    """
    path, rank, size = _path(directory, snapshot.step), meeting.ranks.rank, meeting.ranks.size
    with meeting.of(2):
        if rank:
            with joined_directory(path, meeting.name) as temporary:
                meeting.wait()
                _write_tensors(temporary, snapshot, rank, size)
                for group in snapshot.tensors:
                    sync(temporary / _file(group, rank, size))
            meeting.wait()
            return
        with atomic_directory(path, replace=True, shared=meeting.name) as temporary, meeting.telling():
            meeting.wait()
            _write_tensors(temporary, snapshot, rank, size)
            meeting.wait()
            _complete(temporary, snapshot, size)
    _remove_old(directory, keep)


def _path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08d}"


def _file(group: str, rank: int, size: int) -> str:
    return f"{group}.safetensors" if size == 1 else f"{group}-{rank + 1:05d}-of-{size:05d}.safetensors"


def _write_tensors(folder: Path, snapshot: Snapshot, rank: int, size: int) -> None:
    for group, tensors in snapshot.tensors.items():
        save_tensors(folder / _file(group, rank, size), tensors)


def _complete(folder: Path, snapshot: Snapshot, size: int) -> None:
    """Add what says that all is there, and of which run."""
    record = {"step": snapshot.step, "groups": sorted(snapshot.tensors), "run": snapshot.run}
    _write_json(folder / RUN, record if size == 1 else record | {"parts": size})
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    _write_json(folder / MARKER, sizes)


def prune(directory: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` complete checkpoints, and what killed processes left unfinished.

    For the beginning of a run: later, unfinished things are those of the run itself.
    """
    _remove_old(directory, keep)
    for leftover in directory.glob(f"{TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _remove_old(directory: Path, keep: int) -> None:
    complete = [step for step in steps_present(directory) if _fault(_path(directory, step)) is None]
    for step in complete[:-keep]:
        path = _path(directory, step)
        # Renamed first: a process killed while removing must not leave half a checkpoint under its name.
        doomed = directory / f"{TEMPORARY}{path.name}-{os.getpid()}"
        path.rename(doomed)
        shutil.rmtree(doomed)


def steps_present(directory: Path) -> list[int]:
    """Return the steps of all checkpoints in a directory, complete or not, oldest first."""
    if not directory.is_dir():
        return []
    matches = (NAME.fullmatch(entry.name) for entry in directory.iterdir())
    return sorted(int(match.group(1)) for match in matches if match)


def latest(directory: Path) -> Path | None:
    """Return the newest complete checkpoint, or None where no checkpoint was ever completed.

    A newer one that is broken is skipped with a warning on standard error.

    Raises:
        ResumeError: There are checkpoints and every one is broken.
    """
    faults: list[str] = []
    for step in reversed(steps_present(directory)):
        path = _path(directory, step)
        fault = _fault(path)
        if fault is None:
            for broken in faults:
                print(f"warning: {broken}; continuing from {path.name}", file=sys.stderr)
            return path
        faults.append(f"{path} is broken ({fault})")
    if faults:
        raise ResumeError(
            f"{faults[0]}, and no complete checkpoint is beside it: restore one, or start anew in an empty directory"
        )
    return None


def load(path: Path, rows: Mapping[str, Rows] | None = None) -> Snapshot:
    """Read a complete checkpoint.

    Args:
        path: Its folder.
        rows: What to read of a weight, of its moments and its average, by the weight's name; all of those not named.

    Raises:
        ResumeError: A file is damaged.
    """
    try:
        record = read_json(path / RUN)
        step, groups, run, size = record["step"], record["groups"], record["run"], record.get("parts", 1)
        if not (type(step) is int and isinstance(run, dict) and isinstance(run.get("train", {}), dict)):
            raise ValueError(f"{RUN} says nothing of a step or a run")
        # Names of files come from the file: none may lead out of the folder.
        if not (isinstance(groups, list) and {"weights", "optimizer"} <= set(groups) <= GROUPS):
            raise ValueError(f"{RUN} names the groups {groups!r:.80}")
        if not (type(size) is int and 1 <= size <= len(list(path.iterdir()))):
            raise ValueError(f"{RUN} says nothing of the number of parts")
        tensors = {
            group: read_parts([path / _file(group, rank, size) for rank in range(size)], _wanted(group, rows or {}))
            for group in groups
        }
        return Snapshot(step, tensors, run)
    except (OSError, ValueError, KeyError, TypeError, CheckpointError) as error:
        raise ResumeError(
            f"the checkpoint {path} cannot be read ({error}): restore it, or remove it to continue from an older one"
        ) from error


def _wanted(group: str, rows: Mapping[str, Rows]) -> Callable[[str], Rows | None]:
    # A moment is called by its weight and its kind.
    return (lambda name: rows.get(name.rpartition("/")[0])) if group == "optimizer" else rows.get


def _fault(path: Path) -> str | None:
    """Say what is missing in a checkpoint; None if it is complete."""
    try:
        sizes = read_json(path / MARKER)
        for name, size in sizes.items():
            actual = (path / name).stat().st_size
            if actual != size:
                return f"{name} has {actual} bytes instead of {size}"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{MARKER} cannot be read: {error}"
    return None


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    sync(path)
