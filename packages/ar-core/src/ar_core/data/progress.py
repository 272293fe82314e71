"""A progress bar on the terminal, where there is one; and lines where there is none."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["SpacedLines", "track"]

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Pass ``items`` through, showing count, speed and (with ``total``) time left on standard error.

    Nothing is shown if standard error is not a terminal, or if the package rich is not installed: rows do not depend
    on it.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    try:
        from rich import progress as bars
        from rich.console import Console
    except ImportError:
        yield from items
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=description)


class SpacedLines:
    """Lines on standard error where that is no terminal, at most one in ten seconds."""

    SECONDS_BETWEEN = 10.0

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line if it is time for one."""
        if not sys.stderr.isatty() and time.monotonic() - self._said >= self.SECONDS_BETWEEN:
            self._said = time.monotonic()
            print(line, file=sys.stderr, flush=True)
