"""A stage that makes data: chunk after chunk, resumable, shared among any number of processes and machines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from torch import Tensor

from ..config import require_positive
from ..errors import ConfigError

__all__ = ["Chunk", "StageConfig", "StageJob", "StageResult"]


@dataclass(frozen=True)
class StageConfig:
    """Where a stage writes, and which share of the work this run does.

    Raises:
        ConfigError: a value is out of range.
    """

    directory: str
    """Folder of the chunks; ``~`` and ``$NAME`` are expanded. Runs with other shards may write to it at the same time,
    or to folders of their own whose files are copied together."""
    shard: str = "1/1"
    """``i/n``: this run makes every n-th chunk, beginning with the i-th. Under torchrun each shard is divided again among
    the processes."""
    chunk_size: int = 64
    """Items of one file, which appears whole or not at all: what a killed run has to do again."""
    device: str = "auto"
    """Where models run: ``cpu``, ``cuda``, ``cuda:1`` ...; auto takes CUDA if there is one, one device a process."""

    def __post_init__(self) -> None:
        require_positive(self, "chunk_size")
        _place(self.shard)

    def place(self, rank: int = 0, processes: int = 1) -> tuple[int, int]:
        """Which chunks a process makes: those numbered ``first``, ``first + step``, ... from 0, as (first, step)."""
        shard, shards = _place(self.shard)
        return (shard - 1) * processes + rank, shards * processes


@dataclass(frozen=True)
class Chunk:
    """What became of the items of one chunk."""

    tensors: Mapping[str, Tensor]
    """Content of its file; may be empty tensors, never none at all."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What is counted over the whole stage: samples made, items passed over and why."""


@dataclass(frozen=True)
class StageJob:
    """Everything that is particular to a stage, already built.

    Args:
        items: what is worked on, in an order that never changes; read from the start by every process.
        make: makes a chunk of the items from number ``first`` on; a pure function of its arguments.
        total: how many items there are, if known; for the progress bar.
        identity: what defines the data made, JSON-able; a resumed run must have the same.
    """

    items: Iterable[Any]
    make: Callable[[int, Sequence[Any]], Chunk]
    total: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    def identity_in(self, size: int) -> dict[str, Any]:
        """What defines the files of a run with ``size`` items a chunk."""
        return {**self.identity, "chunk_size": size}

    def chunks(self, size: int) -> Iterator[list[Any]]:
        """The items of chunk 0, 1, ...: ``size`` of each, fewer of the last."""
        iterator = iter(self.items)
        while batch := list(islice(iterator, size)):
            yield batch


@dataclass(frozen=True)
class StageResult:
    """How a run of a stage ended.

    Args:
        made: Chunks that this run made.
        present: Chunks of its share that were there before.
        counts: Counts over the chunks that this run made.
        interrupted: True if a signal ended it before its last chunk.
    """

    made: int
    present: int
    counts: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False


def _place(text: str) -> tuple[int, int]:
    shard, slash, shards = text.partition("/")
    if not slash or not shard.isdecimal() or not shards.isdecimal() or not 1 <= int(shard) <= int(shards):
        raise ConfigError(f"shard is {text!r} and must be i/n with 1 <= i <= n, such as 1/4: correct it")
    return int(shard), int(shards)
