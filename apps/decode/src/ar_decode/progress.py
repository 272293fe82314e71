"""The progress bar of a job of many pieces."""

from ar_core.data.progress import progress_bar
from rich.progress import Progress

__all__ = ["job_progress"]


def job_progress() -> Progress:
    """Pieces done, of how many, and the time left; on the error stream, and nothing where that is no terminal."""
    return progress_bar() or Progress(disable=True)
