"""Checkpoints of one or many safetensors files."""

import os
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..json_text import read_json
from .safetensors_file import read_tensors

__all__ = ["INDEX", "read_checkpoint", "read_index"]

INDEX = "model.safetensors.index.json"
"""File that says which of several files holds each tensor."""
SINGLE = "model.safetensors"


def read_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Return all tensors of a checkpoint.

    Args:
        path: A safetensors file, an index file, or a directory that holds ``model.safetensors.index.json``,
            ``model.safetensors``, or exactly one safetensors file.
        device: Where the tensors go.

    Raises:
        CheckpointError: Nothing of that kind there; an index that names absent shards or keys its shards do not hold; a
            damaged file. Names what is wrong.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = _main_file(path)
    if path.suffix != ".json":
        return read_tensors(path, device)
    shard_of, shards = read_index(path)
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        tensors |= read_tensors(shard, device)
    missing = sorted(shard_of.keys() - tensors.keys())
    if missing:
        raise CheckpointError(
            f"{path} promises {missing[0]!r} and {len(missing) - 1} more that its files do not hold: "
            "index and files are of different downloads, get them together"
        )
    return tensors


def read_index(path: Path) -> tuple[dict[str, str], list[Path]]:
    """Return which file holds a tensor, by its name, and all files, which lie beside the index.

    Raises:
        CheckpointError: it cannot be read, is no index, or names a file that is absent or elsewhere.
    """
    try:
        shard_of = read_json(path)["weight_map"]
        shards = sorted(set(shard_of.values()))
        if not all(isinstance(name, str) for name in shards):
            raise TypeError("names of files are text")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index (it has no mapping 'weight_map'): download it again") from error
    # Unlike Path.is_file, os.path.isfile says of any text whether it names a file.
    absent = [name for name in shards if Path(name).name != name or not os.path.isfile(path.parent / name)]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise CheckpointError(
            f"{path} names {len(shards)} files and {absent[0]!r:.200}{more} is not beside it: download the missing ones"
        )
    return shard_of, [path.parent / name for name in shards]


def _main_file(directory: Path) -> Path:
    for name in (INDEX, SINGLE):
        if os.path.isfile(directory / name):
            return directory / name
    files = sorted(directory.glob("*.safetensors"))
    if len(files) != 1:
        held = f"{len(files)} safetensors files and no index" if files else "no safetensors file"
        raise CheckpointError(f"{directory} holds {held}: give the directory of a checkpoint, or one file of it")
    return files[0]
