"""What a person sees of a run: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..data.progress import progress_bar
from ..quiet import is_quiet

__all__ = ["Progress"]

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows the progress of a run on standard error.

    Args:
        steps: Optimiser steps of the run.
        done: Steps done before.
    """

    def __init__(self, steps: int, done: int) -> None:
        self._steps = steps
        self._last_line = time.monotonic()
        self._bar = progress_bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=steps, completed=done)

    def show(self, step: int, loss: float) -> None:
        """Show that ``step`` steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=f"loss {loss:.4f}")

    def record(self, record: Mapping[str, Any]) -> None:
        """Show a record of metrics."""
        now = time.monotonic()
        if self._bar is not None or is_quiet() or now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in _flat(record) if name != "step")
        print(f"step {record['step']}/{self._steps}: {numbers}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value) if name == "evaluation" else ()
        else:
            yield name, value
