"""Kill a run with SIGKILL, resume it, and hold what it leaves against an uninterrupted run, bit for bit.

The file is also a script: a process that has done one run and nothing else forks a child for every further one, so that
a case costs the run itself and no imports, and what other tests did to their process (threads, settings, open files) is
in none of them. Kill points are moments, or numbered write boundaries: before and after every call by
which files reach the disk, take their name or go away, and half-way through writing tensors or a small file.
"""

import hashlib
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

NEVER = -1
# What only tells of speed, and so differs between equal runs.
CLOCK = {"steps_per_s", "samples_per_s", "tokens_per_s", "peak_memory_mib"}


class Runs:
    """Runs of ``function(directory, **settings)``, a function of the given file that works into a directory and resumes by itself.

    Settings given to a single run go before those of all.
    """

    def __init__(self, file: str, function: str, **settings: Any) -> None:
        command = [sys.executable, __file__, file, function, json.dumps(settings)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def uninterrupted(self, directory: Path, **settings: Any) -> float:
        """Run to the end; returns the seconds it took."""
        self._start(directory, None, settings)
        before = time.perf_counter()
        self._ends()
        return time.perf_counter() - before

    def boundaries(self, directory: Path, **settings: Any) -> int:
        """Run to the end; returns how many write boundaries it crossed."""
        self._start(directory, NEVER, settings)
        return self._ends()

    def killed_after(self, directory: Path, seconds: float, **settings: Any) -> bool:
        """Start the run and kill it after so many seconds; returns whether it was still running."""
        child = self._start(directory, None, settings)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return self._wait()[0] == -signal.SIGKILL

    def killed_at(self, directory: Path, boundary: int, **settings: Any) -> bool:
        """Start the run and let it kill itself at a write boundary, from 0; returns False if it has fewer."""
        self._start(directory, boundary, settings)
        code, _ = self._wait()
        assert code in (0, -signal.SIGKILL), f"the run ended with {code}"
        return code != 0

    def _start(self, directory: Path, boundary: int | None, settings: dict[str, Any]) -> int:
        return self._ask({"directory": str(directory), "boundary": boundary, "settings": settings})[0]

    def _ends(self) -> int:
        code, crossed = self._wait()
        assert code == 0, f"the uninterrupted run ended with {code}"
        return crossed

    def _wait(self) -> list[int]:
        # A child is waited for only when asked to, so that until then nothing else has its number.
        return self._ask(None)

    def _ask(self, request: dict[str, Any] | None) -> list[int]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks runs ended; its error is on the error stream"
        return json.loads(answer)


def state(directory: Path) -> dict[str, Any]:
    """What must be equal: hashes of every file of every checkpoint, of the final model and of data, and all metrics but the clock's."""
    files = {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("metrics.jsonl", ".lock")
    }
    metrics = directory / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    kept = [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]
    return {"files": files, "metrics": kept}


def _die_at(boundary: int) -> Callable[[], int]:
    """Number the write boundaries from here on and die at one; the function returned says how many were crossed."""
    import safetensors.torch

    crossed = 0

    def cross() -> None:
        nonlocal crossed
        if crossed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)
        crossed += 1

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

    def torn(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, second: Any, *args: Any, **options: Any) -> Any:
            result = write(first, second, *args, **options)
            path = Path(second if write is save_file else first)
            whole = path.read_bytes()
            write_bytes(path, whole[: len(whole) // 2])
            cross()
            write_bytes(path, whole)
            return result

        return call

    save_file, write_bytes = safetensors.torch.save_file, Path.write_bytes
    safetensors.torch.save_file = torn(save_file)
    for name in ("write_text", "write_bytes"):
        setattr(Path, name, torn(getattr(Path, name)))
    return lambda: crossed


def serve(run: Callable[..., Any], settings: dict[str, Any], answers: TextIO) -> None:
    """Fork a child for every request on standard input; answer its process number, and when asked, its exit code and boundaries."""
    child, told = 0, 0
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            with os.fdopen(told) as pipe:
                answer = [code, int(pipe.read() or 0)]
        else:
            told, tell = os.pipe()
            child = os.fork()
            if not child:
                _run(run, settings | request["settings"], request["directory"], request["boundary"], tell)
            os.close(tell)
            answer = [child]
        print(json.dumps(answer), file=answers, flush=True)


def _run(run: Callable[..., Any], settings: dict[str, Any], directory: str, boundary: int | None, tell: int) -> None:
    code = 1
    try:
        crossed = _die_at(boundary) if boundary is not None else None
        run(Path(directory), **settings)
        if crossed is not None:
            os.write(tell, str(crossed()).encode())
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
    # Not imported by whoever only asks for runs.
    import torch

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
