"""What makes two runs the same run."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ResumeError
from .config import TrainConfig
from .job import Job

__all__ = ["require_same_run", "run_identity", "with_defaults"]

# Settings that change memory, speed or what is written, but not the weights a run ends with.
FREE = {
    "micro_batch_size",
    "device",
    "sharding",
    "sharding_unit",
    "num_workers",
    "checkpoint_dir",
    "checkpoint_every_steps",
    "checkpoint_every_seconds",
    "checkpoint_async",
    "keep",
    "log_every",
    "eval_every",
    "best_by",
}


def run_identity(job: Job, config: TrainConfig) -> dict[str, Any]:
    """Return everything that decides what weights a run ends with, as plain JSON data."""
    # A constant schedule does not know where the run ends, so such a run can be made longer.
    free = FREE | {"steps"} if config.schedule == "constant" else FREE
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in free}
    identity = {
        "train": settings,
        "objective": {
            "coefficients": dict(job.objective.coefficients),
            "players": [dataclasses.asdict(player) for player in job.objective.players()],
        },
        "data": job.source.describe(),
        "job": job.identity,
    }
    out: dict[str, Any] = json.loads(json.dumps(identity, default=str))
    return out


def with_defaults(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a run with the settings of ``TrainConfig`` that did not exist when it was begun: at their defaults."""
    defaults = json.loads(json.dumps(dataclasses.asdict(TrainConfig())))
    settings = {name: value for name, value in defaults.items() if name not in FREE | {"steps"}}
    return {**saved, "train": {**settings, **saved.get("train", {})}}


def require_same_run(saved: Mapping[str, Any], present: Mapping[str, Any], source: Any) -> None:
    """Raise if what lies there belongs to another run.

    A setting that is null or empty counts as one that is not there, so that runs from before it existed can be continued.

    Args:
        saved: identity of the run that made it.
        present: identity of this run.
        source: what lies there, for the message.

    Raises:
        ResumeError: Names the first setting that differs, with both values.
    """
    before, now = dict(_leaves(saved)), dict(_leaves(present))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ResumeError(
                f"{name} was {before.get(name, 'absent')} in {source} and is {now.get(name, 'absent')} "
                "now: continue with the setting it had, or choose another directory"
            )


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{where}[{number}]")
    elif value not in ([], {}):
        yield where, value
