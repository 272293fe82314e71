"""Reading and writing one safetensors file."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CheckpointError
from ..json_text import parse_json
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
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if length > size - 8 or not 2 <= length <= MAX_HEADER_BYTES:
                raise CheckpointError(_no_header(path, start, length, size))
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): check the path") from error
    try:
        header: dict[str, Any] = parse_json(text)
        fault = _fault(header)
    except ValueError as error:
        raise CheckpointError(f"{path} is no safetensors file (its header is damaged): download it again") from error
    if fault is not None:
        raise CheckpointError(f"{path} is no safetensors file ({fault} of its header is damaged): download it again")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
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
    except (SafetensorError, OSError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # The others: types of numbers that torch does not have, and shapes that it cannot hold.
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


def _fault(header: Any) -> str | None:
    """Name the entry that is not of the format's form; None if all are."""
    if not isinstance(header, dict):
        return "the whole"
    for name, entry in header.items():
        if name == "__metadata__":
            fine = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
        else:
            fine = (
                isinstance(entry, dict)
                and isinstance(entry.get("dtype"), str)
                and _counts(entry.get("shape"))
                and _counts(entry.get("data_offsets"))
                and len(entry["data_offsets"]) == 2
            )
        if not fine:
            return f"the entry {name!r:.80}"
    return None


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value)


def _no_header(path: Path, start: bytes, length: int, size: int) -> str:
    """Say what a file is whose first bytes are not the length of a header it holds."""
    signatures = {
        b"version ": "it is a git-lfs pointer, not the file itself",
        b"PK": "it is a pickle; such files are read by read_pickle",
        b"\x80": "it is a pickle; such files are read by read_pickle",
        b"GGUF": "it is a GGUF file",
        b"<": "it is a web page",
    }
    known = next((what for signature, what in signatures.items() if start.startswith(signature)), None)
    if known is None and 2 <= length <= MAX_HEADER_BYTES:
        return f"{path} is truncated: its header alone takes {length + 8} bytes and the file has {size}, copy it again"
    empty = "it is empty" if size == 0 else f"it has {size} bytes and no header"
    other = empty if size < 8 else "its first bytes are no header length"
    return f"{path} is no safetensors file ({known or other}): download it again"
