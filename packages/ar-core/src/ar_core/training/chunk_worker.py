"""One of the processes that make chunks of a stage by their numbers."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ..config import expand_path
from ..errors import ClusterError
from .chunks import chunk_counts, chunk_path, close_chunks, is_open, open_chunks, write_chunk
from .resume import Resume
from .stage import StageConfig, StageJob

__all__ = ["ChunkWorker", "survey_chunks"]


def survey_chunks(build: Callable[[], StageJob], config: StageConfig, resume: Resume) -> tuple[int, list[int]]:
    """Open the folder of a stage and record how many chunks it has, which takes reading all items.

    Args:
        build: builds the job.
        config: where, and which share.
        resume: as for :func:`ar_core.training.run_stage`.

    Returns:
        How many chunks of the share are there, and the numbers of those that are not.

    Raises:
        ResumeError: the folder cannot be continued.
    """
    job = build()
    directory = expand_path(config.directory)
    open_chunks(directory, job.identity_in(config.chunk_size), resume)
    chunks = sum(1 for _ in job.chunks(config.chunk_size))
    close_chunks(directory, chunks)
    first, step = config.place()
    share = range(first, chunks, step)
    missing = [number for number in share if not chunk_path(directory, number).is_file()]
    return len(share) - len(missing), missing


class ChunkWorker:
    """Makes the chunk of a number and returns what was counted.

    A chunk that is there is not made again: whoever made it died before it could tell, or runs at the same time. Its file, which
    appears whole or not at all, is the one that this worker would write.

    Args:
        build: builds the job.
        config: where.

    Raises:
        ClusterError: the folder is not the one that was surveyed.
        ResumeError: this machine has other data or another model than the one that surveyed.
    """

    def __init__(self, build: Callable[[], StageJob], config: StageConfig) -> None:
        self._job, self._size = build(), config.chunk_size
        self._directory = expand_path(config.directory)
        if not is_open(self._directory):
            raise ClusterError(
                f"{self._directory} is another folder on the machine {os.uname().nodename!r}: choose a stage.directory that all machines of "
                "the cluster share"
            )
        open_chunks(self._directory, self._job.identity_in(config.chunk_size), "must")
        self._reader: Iterator[list[Any]] = iter(())
        self._next = 0

    def __call__(self, number: int) -> dict[str, int]:
        """Make the chunk."""
        if chunk_path(self._directory, number).is_file():
            return chunk_counts(self._directory, number)
        chunk = self._job.make(number * self._size, self._items(number))
        write_chunk(self._directory, number, chunk)
        return dict(chunk.counts)

    def _items(self, number: int) -> list[Any]:
        # Numbers ascend, but for those that another worker died over.
        if number < self._next or self._next == 0:
            self._reader, self._next = self._job.chunks(self._size), 0
        items = next(islice(self._reader, number - self._next, None), None)
        if items is None:
            raise ClusterError(
                f"the data end before chunk {number} on the machine {os.uname().nodename!r}, and did not where they were counted: let all "
                "machines of the cluster see the same files"
            )
        self._next = number + 1
        return items
