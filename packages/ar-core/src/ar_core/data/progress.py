"""A progress bar on the terminal, where there is one; and lines where there is none."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from ..quiet import is_quiet

__all__ = ["SpacedLines", "progress_bar", "track"]

T = TypeVar("T")


def progress_bar(*, transient: bool = False) -> Any:
    """Return a bar for the terminal: what is done, how much of how much, and the time left; on standard error.

    Args:
        transient: take it away at the end.

    Returns:
        A ``rich.progress.Progress`` that is not started; None if standard error is no terminal, the program was asked to be quiet, or
        the package rich is not installed: results do not depend on it.
    """
    if is_quiet() or not sys.stderr.isatty():
        return None
    try:
        from rich import progress as bars
        from rich.console import Console
    except ImportError:
        return None
    return bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=4,
        transient=transient,
    )


def track(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Pass ``items`` through, showing count, speed and (with ``total``) time left on standard error; see :func:`progress_bar`."""
    bar = progress_bar(transient=True)
    if bar is None:
        yield from items
        return
    with bar:
        yield from bar.track(items, total=total, description=description)


class SpacedLines:
    """Lines on standard error where that is no terminal, at most one in ten seconds."""

    SECONDS_BETWEEN = 10.0

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line if it is time for one."""
        if not sys.stderr.isatty() and not is_quiet() and time.monotonic() - self._said >= self.SECONDS_BETWEEN:
            self._said = time.monotonic()
            print(line, file=sys.stderr, flush=True)
