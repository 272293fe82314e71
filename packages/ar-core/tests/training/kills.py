"""Kill a run with SIGKILL, resume it, and hold what it leaves against an uninterrupted run, bit for bit.

``run(directory)`` is any function that trains into a directory and resumes by itself. Each call gets a forked process, so
that a case costs the run itself and no imports. Kill points are moments, or numbered write boundaries: before and
after every call by which files reach the disk, take their name or go away, and half-way through writing tensors.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch._dynamo  # the first optimiser imports it, seconds that each forked process would pay anew

Run = Callable[[Path], None]

# What only tells of speed, and so differs between equal runs.
CLOCK = {"steps_per_s", "samples_per_s", "tokens_per_s", "peak_memory_mib"}


def uninterrupted(run: Run, directory: Path) -> float:
    """Run to the end; returns the seconds it took."""
    before = time.perf_counter()
    code = _wait(_start(run, directory))
    assert code == 0, f"the uninterrupted run ended with {code}"
    return time.perf_counter() - before


def killed_after(run: Run, directory: Path, seconds: float) -> bool:
    """Start the run and kill it after so many seconds; returns whether it was still running."""
    child = _start(run, directory)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return _wait(child) == -signal.SIGKILL


def killed_at(run: Run, directory: Path, boundary: int) -> bool:
    """Start the run and let it kill itself at a write boundary, from 0; returns False if it has fewer."""
    code = _wait(_start(run, directory, boundary))
    assert code in (0, -signal.SIGKILL), f"the run ended with {code}"
    return code != 0


def state(directory: Path) -> dict[str, Any]:
    """What must be equal: every file of every checkpoint and of the final model, and all metrics but the clock's."""
    files = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("metrics.jsonl", ".lock")
    }
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    metrics = [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]
    return {"files": files, "metrics": metrics}


def _start(run: Run, directory: Path, boundary: int | None = None) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        if boundary is not None:
            _die_at(boundary)
        run(directory)
        code = 0
    except BaseException:
        # os._exit would take the reason with it.
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at(boundary: int) -> None:
    left = boundary

    def cross() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            cross()
            result = function(*args, **options)
            cross()
            return result

        return call

    for module, name in (
        (os, "fsync"), (os, "rename"), (os, "replace"), (os, "truncate"), (os, "mkdir"), (os, "unlink"),
        (os, "rmdir"), (shutil, "rmtree"),
    ):  # fmt: skip
        setattr(module, name, guarded(getattr(module, name)))
    save_file = safetensors.torch.save_file

    def torn(tensors: Any, filename: Any, metadata: Any = None) -> None:
        save_file(tensors, filename, metadata)
        whole = Path(filename).read_bytes()
        Path(filename).write_bytes(whole[: len(whole) // 2])
        cross()
        Path(filename).write_bytes(whole)

    safetensors.torch.save_file = torn
