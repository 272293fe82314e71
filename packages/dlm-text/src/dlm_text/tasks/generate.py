"""Problems from a seed: an endless training stream that can be entered anywhere, and a fixed held-out set."""

import random
from collections.abc import Iterator

from ar_core.errors import ConfigError

from . import arithmetic, extraction, word_problems
from .problem import Problem, Split

__all__ = ["TASKS", "held_out", "problem", "stream"]

_DRAW = {
    "arithmetic": arithmetic.draw,
    "word_problems": word_problems.draw,
    "extraction": extraction.draw,
}

TASKS = (*_DRAW, "mixed")
"""Names of the tasks; ``mixed`` draws one of the others with equal chances for each problem."""


def problem(task: str, split: Split, seed: int, index: int) -> Problem:
    """Problem number ``index`` of a stream, a function of its arguments alone.

    Args:
        task: one of ``TASKS``.
        split: which half to draw from.
        seed: stream seed.
        index: place in the stream, >= 0.

    Returns:
        The problem; its ``task`` is never ``"mixed"``.

    Raises:
        ConfigError: no such task.
    """
    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}: choose one of {', '.join(TASKS)}")
    rng = random.Random(f"{seed}/{task}/{split}/{index}")
    while True:
        drawn = _DRAW[task if task != "mixed" else rng.choice(list(_DRAW))](rng)
        if drawn.split == split:
            return drawn


def stream(task: str, split: Split, seed: int, start: int = 0) -> Iterator[Problem]:
    """The endless stream of problems from number ``start`` on."""
    index = start
    while True:
        yield problem(task, split, seed, index)
        index += 1


def held_out(task: str, count: int, seed: int = 0) -> list[Problem]:
    """The first ``count`` distinct held-out problems of a seed."""
    found: dict[str, Problem] = {}
    for drawn in stream(task, "held_out", seed):
        if len(found) == count:
            break
        found.setdefault(drawn.prompt, drawn)
    return list(found.values())
