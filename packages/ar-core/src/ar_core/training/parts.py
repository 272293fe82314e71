"""Tensors that several files hold, each some of their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CheckpointError
from ..io import read_header

__all__ = ["Rows", "read_parts"]


@dataclass(frozen=True)
class Rows:
    """A part of a tensor: some rows, which are indices of its first dimension."""

    start: int
    """First row."""
    stop: int
    """Last row, exclusive."""
    of: int
    """Rows of the whole tensor."""


def read_parts(paths: Sequence[Path], wanted: Callable[[str], Rows | None]) -> dict[str, Tensor]:
    """Return the wanted rows of each tensor in some safetensors files; nothing else is read.

    Args:
        paths: Files in the order of the rows they hold. A tensor that is in one of them alone is whole.
        wanted: The rows of a tensor by name; None for all. Not asked of tensors without a dimension.

    Raises:
        CheckpointError: A file is missing or damaged, or the parts are not those of one tensor of so many rows.
    """
    headers = [read_header(path) for path in paths]
    try:
        files = [safetensors.safe_open(path, framework="pt") for path in paths]
        names = dict.fromkeys(name for header in headers for name in header if name != "__metadata__")
        found = {}
        for name in names:
            holders = [
                (file, header[name]["shape"]) for file, header in zip(files, headers, strict=True) if name in header
            ]
            found[name] = _read(name, holders, wanted)
        return found
    except (SafetensorError, OSError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{paths[0].parent} holds parts that cannot be read together ({error}): copy it again"
        ) from error


def _read(name: str, holders: Sequence[tuple[Any, list[int]]], wanted: Callable[[str], Rows | None]) -> Tensor:
    if not holders[0][1]:
        out: Tensor = holders[0][0].get_tensor(name)
        return out
    total = sum(shape[0] for _, shape in holders)
    rows = wanted(name)
    if rows is None:
        if len(holders) == 1:
            out = holders[0][0].get_tensor(name)
            return out
        rows = Rows(0, total, total)
    if rows.of != total:
        raise ValueError(f"{name} has {total} rows and should have {rows.of}")
    parts, before = [], 0
    for file, shape in holders:
        first, last = max(rows.start - before, 0), min(rows.stop - before, shape[0])
        if first < last:
            parts.append(file.get_slice(name)[first:last])
        before += shape[0]
    if not parts:
        out = holders[0][0].get_slice(name)[0:0]
        return out
    return parts[0] if len(parts) == 1 else torch.cat(parts)
