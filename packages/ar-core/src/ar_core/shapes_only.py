"""Models for their shapes alone: what reads or draws weights leaves them on the meta device while this is asked for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch

__all__ = ["allocating", "only_shapes", "shapes_only"]

_ASKED = ContextVar("shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Language models that are built inside have shapes and dtypes, and neither values nor memory."""
    token = _ASKED.set(True)
    try:
        yield
    finally:
        _ASKED.reset(token)


def only_shapes() -> bool:
    """Whether only shapes are asked for."""
    return _ASKED.get()


def allocating() -> AbstractContextManager[object]:
    """Where modules are made: the default device, or the meta device where only shapes are asked for."""
    return torch.device("meta") if only_shapes() else nullcontext()
