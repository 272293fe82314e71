"""Processes that write one checkpoint together."""

import datetime
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from ..errors import CheckpointError
from .ranks import Ranks

__all__ = ["Meeting"]

# A process may wait for the slowest disk of all.
PATIENCE = datetime.timedelta(hours=2)


class Meeting:
    """Where processes wait for each other beside the steps, and hear of each other's failures.

    It has a group of its own: the order of its messages among those of the steps is not known where a thread writes. All processes
    make one at the same point of the run.

    Args:
        ranks: The processes.

    ``name`` is one that no other run has, so that a process which outlives its run writes into no folder of the next one.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._group = group
        begun = torch.tensor([time.time_ns()])
        dist.broadcast(begun, src=0, group=group)
        self.name = f"ranks-{begun.item()}"
        self._left = 0

    @contextmanager
    def of(self, times: int) -> Iterator[None]:
        """A piece of work during which all processes wait for each other so many times; an error reaches all at the next."""
        self._left = times
        with self.telling():
            yield

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A part of it whose error the others hear before anything outside of it is undone."""
        try:
            yield
        except BaseException:
            if self._left:
                self._left = 0
                self._all(False)
            raise

    def wait(self) -> None:
        """Wait for all.

        Raises:
            CheckpointError: One of them failed.
        """
        self._left -= 1
        if not self._all(True):
            self._left = 0
            raise CheckpointError(
                "another process of the run could not write its part of a checkpoint: read its error; the checkpoints before are intact"
            )

    def _all(self, well: bool) -> bool:
        ill = torch.tensor([float(not well)])
        dist.all_reduce(ill, group=self._group)
        return not ill.item()
