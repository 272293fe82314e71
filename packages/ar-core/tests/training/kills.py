"""Kill a run with SIGKILL, resume it, and hold what it leaves against an uninterrupted run, bit for bit.

The file is also a script: a process that has done one run and nothing else forks a child for every further one, so that
a case costs the run itself and no imports, and what other tests did to their process (threads, settings, open files) is
in none of them. Kill points are moments, or numbered write boundaries: before and after every call by
which files reach the disk, take their name or go away, and half-way through writing tensors.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import safetensors.torch
import torch

# What only tells of speed, and so differs between equal runs.
CLOCK = {"steps_per_s", "samples_per_s", "tokens_per_s", "peak_memory_mib"}


class Runs:
    """Runs of ``function(directory, **settings)``, a function of the given file that trains into a directory and resumes by itself."""

    def __init__(self, file: str, function: str, **settings: Any) -> None:
        command = [sys.executable, __file__, file, function, json.dumps(settings)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def uninterrupted(self, directory: Path) -> float:
        """Run to the end; returns the seconds it took."""
        self._start(directory)
        before = time.perf_counter()
        code = self._wait()
        assert code == 0, f"the uninterrupted run ended with {code}"
        return time.perf_counter() - before

    def killed_after(self, directory: Path, seconds: float) -> bool:
        """Start the run and kill it after so many seconds; returns whether it was still running."""
        child = self._start(directory)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return self._wait() == -signal.SIGKILL

    def killed_at(self, directory: Path, boundary: int) -> bool:
        """Start the run and let it kill itself at a write boundary, from 0; returns False if it has fewer."""
        self._start(directory, boundary)
        code = self._wait()
        assert code in (0, -signal.SIGKILL), f"the run ended with {code}"
        return code != 0

    def _start(self, directory: Path, boundary: int | None = None) -> int:
        return self._ask({"directory": str(directory), "boundary": boundary})

    def _wait(self) -> int:
        # A child is waited for only when asked to, so that until then nothing else has its number.
        return self._ask(None)

    def _ask(self, request: dict[str, Any] | None) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks runs ended; its error is on the error stream"
        return int(answer)


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


def serve(run: Callable[..., Any], settings: dict[str, Any], answers: TextIO) -> None:
    """Fork a child for every request on standard input; answer its process number, and its exit code when asked."""
    child = 0
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            answer = child = os.fork()
            if not child:
                _run(run, settings, **request)
        print(answer, file=answers, flush=True)


def _run(run: Callable[..., Any], settings: dict[str, Any], directory: str, boundary: int | None) -> None:
    code = 1
    try:
        if boundary is not None:
            _die_at(boundary)
        run(Path(directory), **settings)
        code = 0
    except BaseException:
        # os._exit would take the reason with it.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(file: str, function: str, settings: str) -> None:
    # What a run prints is not to be read as an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("ar_core_tests_training_run", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    run, chosen = getattr(module, function), json.loads(settings)
    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), **chosen)  # what is imported at first use, each child would import anew
    serve(run, chosen, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
