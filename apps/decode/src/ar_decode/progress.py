"""The progress bar of a job of many pieces."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["job_progress"]


def job_progress() -> Progress:
    """Pieces done, of how many, and the time left; on the error stream."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        # Without a terminal a bar is noise between the lines of a log.
        disable=not console.is_terminal,
    )
