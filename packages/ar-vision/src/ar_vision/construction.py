"""Modules whose weights are about to be set, made without a trace in the global random state."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

__all__ = ["undrawn"]

M = TypeVar("M", bound=nn.Module)


def undrawn(build: Callable[[], M]) -> M:
    """Return what ``build`` makes, on the CPU; what torch's layers draw while they are made is taken back.

    Args:
        build: makes a module whose weights the caller then loads, or draws from a generator of its own.
    """
    with torch.random.fork_rng(devices=[]):
        return build()
