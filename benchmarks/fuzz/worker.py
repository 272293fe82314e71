"""Hostile inputs of one loader, read one after the other, and what came of each.

Runs in a process of its own, which may end at any input: whoever started it goes on behind that one in a new process.
"""

import contextlib
import gc
import json
import os
import shutil
import warnings
from pathlib import Path
from random import Random
from typing import Any

from .coverage import NewLines
from .guard import Guard
from .judge import FAULTS, judged
from .loader import Files, Loader, files_in, write_files
from .mutations import mutated

__all__ = ["hostile_input", "work"]

MOST_KEPT = 400
"""Inputs that are mutated further, beside the valid ones."""


def hostile_input(loader: Loader, inputs: list[Files], seed: int, number: int) -> Files:
    """The input of a number: a function of it, the seed, the loader's name and the inputs that were kept before."""
    return mutated(inputs, Random(f"{seed}/{loader.name}/{number}"))


def work(loader: Loader, seed: int, first: int, last: int, room: Path, told: int, *, traced: bool = True) -> None:
    """Read the inputs numbered ``first`` to ``last - 1``.

    Args:
        loader: reads.
        seed: of the inputs.
        first: number of an input.
        last: number behind the last one.
        room: folder of this loader's inputs; what was kept, and what was a fault, stays in it.
        told: descriptor that gets a line of JSON when inputs begin, and one an input.
        traced: look for new lines, which takes a multiple of the time; an input that is slow with it is read again without.

    Raises:
        RuntimeError: a valid input is not accepted.
    """
    warnings.simplefilter("ignore")
    folder, kept = room / "input", room / "kept"
    kept.mkdir(exist_ok=True)
    guard, lines = Guard(room, folder, loader.contained), NewLines()

    def attempt(files: Files, traced: bool = traced) -> tuple[dict[str, Any], bool]:
        _empty(folder)
        write_files(folder, files)
        before = lines.total
        with lines.counting() if traced else contextlib.nullcontext():
            outcome = judged(loader, folder, sum(map(len, files.values())), guard)
        faulty = {"detail": outcome.detail} if outcome.kind in FAULTS else {}
        return {"kind": outcome.kind, "seconds": round(outcome.seconds, 3), **faulty}, lines.total > before

    _empty(room / "elsewhere")
    os.chdir(room / "elsewhere")
    inputs = _valid(loader, room / "valid")
    for files in inputs:
        # Twice: what is imported at the first is not the input's.
        attempt(files)
        found, _ = attempt(files)
        if found["kind"] != "accepted":
            raise RuntimeError(f"{loader.name}: a valid input was not accepted: {found}")
    for place in sorted(kept.iterdir()):
        inputs.append(files_in(place))
        if traced:
            attempt(inputs[-1])
    _tell(told, {"number": first - 1})
    for number in range(first, last):
        files = hostile_input(loader, inputs, seed, number)
        found, new = attempt(files)
        if traced and found["kind"] == "hung":
            found, _ = attempt(files, traced=False)
        if found["kind"] in FAULTS:
            _empty(room / "faults" / f"{number:07d}")
            write_files(room / "faults" / f"{number:07d}", files)
        elif new and len(inputs) < MOST_KEPT:
            inputs.append(files)
            _empty(kept / f"{number:07d}")
            write_files(kept / f"{number:07d}", files)
        _tell(told, {"number": number, "lines": lines.total, **found})
        if number % 200 == 0:
            gc.collect()


def _tell(told: int, data: dict[str, Any]) -> None:
    os.write(told, (json.dumps(data) + "\n").encode())


def _valid(loader: Loader, folder: Path) -> list[Files]:
    found = []
    for write in loader.seeds():
        _empty(folder)
        write(folder)
        found.append(files_in(folder))
    return found


def _empty(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
