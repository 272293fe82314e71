"""A progress bar on the terminal, where there is one."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["track"]

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
