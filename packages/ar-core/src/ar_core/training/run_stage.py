"""Running a stage that makes data."""

import os
from collections import Counter

from ..config import expand_path
from ..data.progress import SpacedLines, track
from .chunks import chunk_path, close_chunks, open_chunks, write_chunk
from .interrupt import Interrupt
from .resume import Resume
from .stage import StageConfig, StageJob, StageResult

__all__ = ["listed", "run_stage"]


def run_stage(job: StageJob, config: StageConfig, *, resume: Resume = "auto") -> StageResult:
    """Make this run's share of the chunks, those that are not there yet.

    A run that was killed at any moment and is started again ends with the same files as one that was not. Shards may be
    made in any order, at the same time, on different machines, and with another ``n`` after a restart: a chunk depends
    on its items alone.

    Args:
        job: What is made.
        config: Where, and which share.
        resume: ``auto`` goes on where chunks are missing, ``must`` demands that some are there, ``never`` demands that
            none is.

    Raises:
        ResumeError: The directory cannot be continued.
        CheckpointError: A chunk cannot be written; those before it stay.
    """
    directory = expand_path(config.directory)
    first, step = config.place(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    open_chunks(directory, job.identity_in(config.chunk_size), resume)
    total = None if job.total is None else -(-job.total // config.chunk_size)
    made = present = chunks = 0
    counts: Counter[str] = Counter()
    lines = SpacedLines()
    with Interrupt() as interrupt:
        for number, items in enumerate(track(job.chunks(config.chunk_size), "chunks", total)):
            chunks = number + 1
            if number % step != first:
                continue
            if chunk_path(directory, number).is_file():
                present += 1
                continue
            if interrupt.requested:
                return StageResult(made, present, counts, interrupted=True)
            chunk = job.make(number * config.chunk_size, items)
            write_chunk(directory, number, chunk)
            counts.update(chunk.counts)
            made += 1
            lines.say(f"chunk {chunks}/{total or '?'}: {listed(counts)}")
    close_chunks(directory, chunks)
    return StageResult(made, present, counts)


def listed(counts: Counter[str]) -> str:
    """Counts for a line of text."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
