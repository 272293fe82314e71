"""Generated problems with exact answers, as data sources.

A package announces a task by an entry point whose value is a callable without arguments that returns the task:

    [project.entry-points."ar_core.tasks"]
    arithmetic = "my_package.tasks:Arithmetic"
"""

from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal, Protocol, runtime_checkable

from ..config import did_you_mean
from ..errors import ConfigError

__all__ = ["Task", "find_task", "task_names"]


@runtime_checkable
class Task(Protocol):
    """Problems from a seed, with exact answers; those of ``"train"`` and ``"held_out"`` are disjoint for all seeds."""

    @property
    def name(self) -> str:
        """What users type."""
        ...

    def problems(self, split: Literal["train", "held_out"], seed: int) -> Iterator[tuple[str, str]]:
        """Yield (prompt, answer) without end; a pure function of split and seed."""
        ...

    def tokenizer(self) -> Any:
        """A small tokenizer (Hugging Face interface) that covers every prompt and answer."""
        ...


def task_names() -> tuple[str, ...]:
    """Names of all tasks of all installed packages, sorted."""
    return tuple(sorted(point.name for point in metadata.entry_points(group="ar_core.tasks")))


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: no installed package has it; the nearest name is given.
    """
    for point in metadata.entry_points(group="ar_core.tasks", name=name):
        out: Task = point.load()()
        return out
    raise ConfigError(f"no installed package has a task {name!r}; {did_you_mean(name, task_names())}")
