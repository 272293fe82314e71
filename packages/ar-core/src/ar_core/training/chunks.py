"""The folder of a stage: one file a chunk, and the record of what made them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import CheckpointError, DataError, ResumeError
from ..io import atomic_file, read_header, write_tensors
from ..json_text import parse_json, read_json
from .identity import require_same_run
from .stage import Chunk

__all__ = ["chunk_counts", "chunk_path", "close_chunks", "finished_chunks", "is_open", "open_chunks", "write_chunk"]

_RECORD = "stage.json"


def chunk_path(directory: Path, number: int) -> Path:
    """The file of a chunk, numbered from 0."""
    return directory / f"chunk-{number:06d}.safetensors"


def chunk_counts(directory: Path, number: int) -> dict[str, int]:
    """What was counted when a chunk that is there was made.

    Raises:
        CheckpointError: its file is damaged.
    """
    path = chunk_path(directory, number)
    try:
        counts = parse_json(read_header(path)["__metadata__"]["counts"])
        return {str(name): int(count) for name, count in counts.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no chunk of a data-making recipe: delete it") from error


def write_chunk(directory: Path, number: int, chunk: Chunk) -> None:
    """Write a chunk; its file appears whole or not at all.

    Raises:
        CheckpointError: the operating system refuses (disk full, no permission ...).
    """
    write_tensors(chunk_path(directory, number), chunk.tensors, {"counts": json.dumps(dict(chunk.counts))})


def open_chunks(directory: Path, identity: Mapping[str, Any], resume: Literal["auto", "never", "must"]) -> None:
    """Make the folder ready for chunks of this identity.

    Raises:
        ResumeError: the folder holds chunks of another stage; or it holds some and ``resume`` is ``never``, or none and
            it is ``must``.
        CheckpointError: it cannot be written.
    """
    record = directory / _RECORD
    there = record.is_file()
    if there and resume == "never" and any(directory.glob("chunk-*")):
        raise ResumeError(
            f"{directory} holds chunks and resume is 'never': choose another stage.directory, or continue with resume 'auto'"
        )
    if not there and resume == "must":
        raise ResumeError(
            f"{directory} holds no chunks and resume is 'must': name the directory of the run to continue"
        )
    present = json.loads(json.dumps(identity, default=str))
    if there:
        require_same_run(_read(directory)["identity"], present, directory)
        return
    _write(directory, {"identity": present, "chunks": None})


def is_open(directory: Path) -> bool:
    """Whether a stage has begun in the folder."""
    return (directory / _RECORD).is_file()


def close_chunks(directory: Path, chunks: int) -> None:
    """Record how many chunks the whole stage has, which whoever has read all items knows."""
    _write(directory, {**_read(directory), "chunks": chunks})


def finished_chunks(directory: Path) -> tuple[dict[str, Any], list[Path]]:
    """The identity of a finished stage and its chunks in order, whichever runs made them.

    Raises:
        DataError: nothing is there, or chunks are missing.
    """
    if not (directory / _RECORD).is_file():
        raise DataError(f"{str(directory)!r} is no folder that a data-making recipe wrote: run the recipe first")
    record = _read(directory)
    count = record["chunks"]
    if count is None:
        raise DataError(
            f"the data in {str(directory)!r} are not finished: run the same command again, once for each shard"
        )
    # The count is a stranger's: it is believed as far as there are files.
    numbers = set(_numbers(directory))
    if lacking := count - sum(number < count for number in numbers):
        first = next(number for number in range(len(numbers) + 1) if number not in numbers)
        raise DataError(
            f"{str(directory)!r} lacks {lacking} of {count} chunks, the first being {chunk_path(directory, first).name}: run the remaining "
            "shards, or copy their files here"
        )
    return record["identity"], [chunk_path(directory, number) for number in range(count)]


def _numbers(directory: Path) -> Iterator[int]:
    """Numbers of the chunks that are there."""
    for path in directory.glob("chunk-*.safetensors"):
        digits = path.stem.removeprefix("chunk-")
        if digits.isdecimal() and path == chunk_path(directory, int(digits)) and path.is_file():
            yield int(digits)


def _read(directory: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = read_json(directory / _RECORD)
    except (OSError, ValueError) as error:
        raise DataError(f"{str(directory / _RECORD)!r} cannot be read ({error}): delete the folder") from error
    count = record.get("chunks", -1) if isinstance(record, dict) else -1
    if not (count is None or (type(count) is int and count >= 0)) or not isinstance(record.get("identity"), dict):
        raise DataError(f"{str(directory / _RECORD)!r} is no record of a data-making recipe: delete the folder")
    return record


def _write(directory: Path, record: Mapping[str, Any]) -> None:
    with atomic_file(directory / _RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
