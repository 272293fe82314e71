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

The learning rate, the data position and every random number are functions of the step and the settings, so the step
number stands for them all.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, ResumeError
from ..io import atomic_directory, read_tensors, save_tensors, sync
from ..io.atomic import TEMPORARY
from ..json_text import read_json

__all__ = ["Snapshot", "latest", "load", "prune", "save", "steps_present"]

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
    path = directory / f"step-{snapshot.step:08d}"
    with atomic_directory(path, replace=True) as temporary:
        for group, tensors in snapshot.tensors.items():
            save_tensors(temporary / f"{group}.safetensors", tensors)
        _write_json(temporary / RUN, {"step": snapshot.step, "groups": sorted(snapshot.tensors), "run": snapshot.run})
        sizes = {file.name: file.stat().st_size for file in sorted(temporary.iterdir())}
        _write_json(temporary / MARKER, sizes)
    _remove_old(directory, keep)
    return path


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
    complete = [step for step in steps_present(directory) if _fault(directory / f"step-{step:08d}") is None]
    for step in complete[:-keep]:
        path = directory / f"step-{step:08d}"
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
        path = directory / f"step-{step:08d}"
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


def load(path: Path) -> Snapshot:
    """Read a complete checkpoint.

    Raises:
        ResumeError: A file is damaged.
    """
    try:
        record = read_json(path / RUN)
        step, groups, run = record["step"], record["groups"], record["run"]
        if not (type(step) is int and isinstance(run, dict) and isinstance(run.get("train", {}), dict)):
            raise ValueError(f"{RUN} says nothing of a step or a run")
        # Names of files come from the file: none may lead out of the folder.
        if not (isinstance(groups, list) and {"weights", "optimizer"} <= set(groups) <= GROUPS):
            raise ValueError(f"{RUN} names the groups {groups!r:.80}")
        return Snapshot(step, {group: read_tensors(path / f"{group}.safetensors") for group in groups}, run)
    except (OSError, ValueError, KeyError, TypeError, CheckpointError) as error:
        raise ResumeError(
            f"the checkpoint {path} cannot be read ({error}): restore it, or remove it to continue from an older one"
        ) from error


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
