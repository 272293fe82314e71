"""Whether a program was asked to say nothing but its result."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["is_quiet", "quieted"]

_QUIET = ContextVar("quiet", default=False)


@contextmanager
def quieted(quiet: bool = True) -> Iterator[None]:
    """Show no progress and no notes on standard error while the block runs; errors and results are shown all the same."""
    before = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(before)


def is_quiet() -> bool:
    """Whether progress and notes are left out."""
    return _QUIET.get()
