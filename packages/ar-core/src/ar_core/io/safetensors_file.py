"""Reading and writing one safetensors file."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CheckpointError
from .atomic import atomic_file

__all__ = ["read_header", "read_tensors", "save_tensors", "write_tensors"]

# The format's own limit; a larger number in the first eight bytes is no header length.
MAX_HEADER_BYTES = 100_000_000


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a safetensors file: tensor name to dtype, shape and offsets, and ``__metadata__``.

    Reads no tensor, but checks that the file is as long as the header says.

    Raises:
        CheckpointError: Missing, not a safetensors file, or truncated; says which.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else None
            if length is None or length > MAX_HEADER_BYTES or length < 2:
                raise CheckpointError(f"{path} is no safetensors file ({_looks_like(start, size)}): download it again")
            if length > size - 8:
                raise CheckpointError(
                    f"{path} is truncated: its header alone takes {length + 8} bytes and the file has {size}, "
                    "copy it again"
                )
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): check the path") from error
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path} is no safetensors file (its header is damaged): download it again") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise CheckpointError(
            f"{path} is {state}: its header promises {expected} bytes and it has {size}, copy it again"
        )
    return header


def read_tensors(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Return all tensors of a safetensors file by name.

    Raises:
        CheckpointError: Missing, not a safetensors file, or truncated; says which.
    """
    read_header(path)
    try:
        return safetensors.torch.load_file(path, device=str(device))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no valid safetensors file ({error}): download it again") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors where they will lie; for files inside an :func:`atomic_directory`. Views are written as copies."""
    storages: set[int] = set()
    unshared = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        pointer = tensor.untyped_storage().data_ptr()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.is_contiguous()
        unshared[name] = tensor if whole and pointer not in storages else tensor.contiguous().clone()
        storages.add(pointer)
    safetensors.torch.save_file(unshared, path, metadata=dict(metadata or {}) or None)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all.

    Args:
        path: The file.
        tensors: Tensors by name, any device.
        metadata: Text by name, stored in the header.

    Raises:
        CheckpointError: The operating system refuses (disk full, no permission ...); what lay there is unchanged.
    """
    with atomic_file(path) as temporary:
        save_tensors(temporary, tensors, metadata)


def _looks_like(start: bytes, size: int) -> str:
    if size == 0:
        return "it is empty"
    if start.startswith(b"version "):
        return "it is a git-lfs pointer, not the file itself"
    if start.startswith(b"PK") or start.startswith(b"\x80"):
        return "it is a pickle; such files are read by read_pickle"
    if start.startswith(b"GGUF"):
        return "it is a GGUF file"
    if start.lstrip().startswith(b"<"):
        return "it is a web page"
    return f"it has {size} bytes and no header" if size < 8 else "its first bytes are no header length"
