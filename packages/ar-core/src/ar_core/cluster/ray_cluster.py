"""Workers on a Ray cluster, by Ray Data."""

import importlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from .. import errors
from ..errors import ArError, ClusterError, ConfigError, MissingPackageError

__all__ = ["RayCluster"]

RETRIES = 2
"""So often an item is begun again whose worker died; what kills each of its workers ends the run."""

ENVIRONMENT = {
    # Ray reports clusters to its makers unless told not to.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the folder that the command was called in, and build its environment anew for each worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}

Place = tuple[str, dict[str, str]]
"""Working directory and environment variables of the caller."""


class RayCluster:
    """Workers of a Ray cluster, for the length of a ``with`` block.

    A cluster of another process is joined, and left as it was; one that this process is connected to already is taken. A worker is a
    process with one CPU core, and with one GPU where that is asked for, which Ray places on any machine of the cluster. All of them, and
    the caller, must see the same files under the same paths: workers go to the caller's working directory and take over its environment
    variables ``AR_...``, which paths of configs name.

    Args:
        address: ``local`` starts a cluster on this machine, which ends with the block; otherwise that of a running one, ``HOST:PORT``,
            or ``auto`` for the one that this machine belongs to.
        workers: how many; those for which the cluster has no room wait for it, and the others do the work.
        device: where models of a worker run: ``cpu``, ``cuda``, or ``auto``, one GPU a worker where the cluster has any.

    Raises:
        ConfigError: a value is out of range.
        MissingPackageError: ray is not installed.
        ClusterError: no cluster answers, or it has no GPU and needs one.
    """

    def __init__(self, address: str, *, workers: int, device: str = "auto") -> None:
        if workers < 1:
            raise ConfigError(f"{workers} workers were asked for on a Ray cluster: give at least 1")
        if device not in ("auto", "cpu", "cuda"):
            raise ConfigError(
                f"the device is {device!r}, and workers of a Ray cluster see the one GPU that Ray gives them: set auto, cpu or cuda"
            )
        # Ray takes this variable for `auto`.
        found = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
        if "://" in found:
            raise ConfigError(
                f"{found!r} is the address of a Ray client: start the command on a machine of the cluster, with auto as the address and "
                "RAY_ADDRESS not set"
            )
        if not re.fullmatch(r"local|auto|\S+:\d+", address):
            raise ConfigError(f"{address!r} is no address of a Ray cluster: give local, auto or HOST:PORT")
        self._address, self._workers, self._device = address, workers, device
        self._gpus = 0
        self._ours = False

    def __enter__(self) -> "RayCluster":
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        local = self._address == "local"
        if local:
            # Ray would give a worker one thread.
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self._workers)))
        self._ray = _imported()
        if not self._ray.is_initialized():
            quiet = {"include_dashboard": False, "num_cpus": self._workers} if local else {}
            try:
                self._ray.init(address=self._address, logging_level=logging.ERROR, log_to_driver=False, **quiet)
            # Ray has no class of its own for a cluster that does not answer or is too slow to start.
            except Exception as error:
                self._ray.shutdown()
                way = (
                    "try again when the machine is less busy"
                    if local
                    else "give local, or what `ray start --head` printed, with its versions of Ray and Python"
                )
                raise ClusterError(f"no Ray cluster at {self._address!r} ({_one_line(error)}): {way}") from error
            self._ours = True
        try:
            self._reserve()
        except ClusterError:
            self.__exit__(None, None, None)
            raise
        return self

    def _reserve(self) -> None:
        resources = self._ray.cluster_resources()
        if self._device == "cuda" or (self._device == "auto" and resources.get("GPU", 0) >= 1):
            self._gpus = 1
        if resources.get("GPU", 0) < self._gpus:
            raise ClusterError(
                f"the device is 'cuda' and the Ray cluster at {self._address!r} has no GPU: add a machine that has one, or set cpu"
            )
        # Ray lists none of which nothing is free, and of a cluster just started nothing for a moment.
        free = resources if self._address == "local" else self._ray.available_resources()
        room = int(min(free.get("CPU", 0), free.get("GPU", 0) if self._gpus else sys.maxsize))
        if room < self._workers:
            print(
                f"the Ray cluster has room for {room} of {self._workers} workers now: the others wait until it has more",
                file=sys.stderr,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            self._ray.shutdown()
            self._ours = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a process like those of the workers; what it returns is JSON-able.

        Raises:
            ArError: as the function does.
            ClusterError: the process died, again and again.
        """
        task = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=RETRIES)(_answered)
        with self._failures_named():
            return _value(self._ray.get(task.remote(_place(), function, *arguments)))

    def map(
        self, build: Callable[..., Callable[[Any], Any]], arguments: Sequence[Any], items: Sequence[Any]
    ) -> Generator[Any, None, None]:
        """Let workers do the items and yield the results in the order of the items, as soon as that is possible.

        A worker is what ``build(*arguments)`` returns; it is called with one item after the other. An item whose worker dies is done
        again, by this worker started anew or by another: what it did before must do no harm. Once the iterator is closed, the workers
        end at once.

        Args:
            build: of an importable module, as are the classes of the arguments.
            arguments: its arguments.
            items: JSON-able, as are the results.

        Raises:
            ArError: as ``build`` and workers do.
            ClusterError: an item's workers died, again and again.
        """
        if not items:
            return
        data = importlib.import_module("ray.data")
        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        # Ray Data's own limit is half an hour without a result, and an item may take longer.
        context.execution_no_progress_timeout_s = -1
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = data.from_items([{"item": json.dumps(item)} for item in items], override_num_blocks=len(items))
        with warnings.catch_warnings():
            # The number of tries has no other way in than an argument that Ray 2.64 takes away, which bounds the version of the extra.
            warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")
            results = rows.map_batches(
                _Worker,
                fn_constructor_args=(_place(), build, tuple(arguments)),
                batch_size=1,
                # Beyond the one at work, an item of a worker would wait while others are idle.
                compute=data.ActorPoolStrategy(size=min(self._workers, len(items)), max_tasks_in_flight_per_actor=1),
                num_cpus=1,
                num_gpus=self._gpus,
                # Ray Data's own number is without end.
                ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},
            )
        with self._failures_named():
            for row in results.iter_rows():
                yield _value(row["result"])

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        kinds = self._ray.exceptions
        try:
            yield
        except (kinds.RayActorError, kinds.WorkerCrashedError, kinds.OutOfMemoryError, kinds.NodeDiedError) as error:
            raise ClusterError(
                f"{RETRIES + 1} workers of the Ray cluster died over the same piece of work, or while they loaded the model "
                f"({_one_line(error)}): see the memory of their machines and Ray's logs, then run the same command again"
            ) from error
        except kinds.RayTaskError:
            # A defect of the work's code, which its traceback tells.
            raise
        except kinds.RayError as error:
            raise ClusterError(
                f"the Ray cluster at {self._address!r} failed ({_one_line(error)}): see Ray's logs, then run the same command again"
            ) from error


class _Worker:
    """One process: the work, built for its first item and kept."""

    def __init__(self, place: Place, build: Callable[..., Callable[[Any], Any]], arguments: Sequence[Any]) -> None:
        self._place, self._build, self._arguments = place, build, arguments
        self._work: Callable[[Any], Any] | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        return {"result": [_answered(self._place, self._do, json.loads(str(batch["item"][0])))]}

    def _do(self, item: Any) -> Any:
        if self._work is None:
            self._work = self._build(*self._arguments)
        return self._work(item)


def _place() -> Place:
    return os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith("AR_")}


def _answered(place: Place, function: Callable[..., Any], *arguments: Any) -> str:
    """What a function returns or the ArError that it raises, as JSON: what Ray makes of exceptions is longer than a sentence."""
    folder, variables = place
    try:
        os.environ.update(variables)
        try:
            os.chdir(folder)
        except OSError as error:
            raise ClusterError(
                f"the folder {folder!r} is not there on the machine {os.uname().nodename!r} ({error.strerror}): let all machines of the "
                "cluster see the same files under the same paths"
            ) from error
        return json.dumps({"value": function(*arguments)})
    except ArError as error:
        return json.dumps({"error": type(error).__name__, "text": str(error)})


def _value(answer: str) -> Any:
    given: dict[str, Any] = json.loads(answer)
    if "error" in given:
        raise getattr(errors, given["error"], ArError)(given["text"])
    return given["value"]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _imported() -> Any:
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingPackageError(
            "a Ray cluster needs ray, which is not installed: pip install 'ar-core[ray]'"
        ) from error
