"""Tensors of chunks, checked to be what their reader takes them for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..io import read_tensors

__all__ = ["Column", "check_chunks", "read_chunks"]

KINDS = {
    "integers": (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    "fractions": (torch.float64, torch.float32, torch.float16, torch.bfloat16),
}


@dataclass(frozen=True)
class Column:
    """A tensor that every chunk of a stage has.

    Attributes:
        shape: sizes; ``*`` is any, and another text stands for a size that is not known but the same wherever that text stands, in
            one chunk where it is ``rows`` and in all chunks otherwise.
        kind: ``integers`` or ``fractions``.
        optional: either all chunks have it or none.
    """

    shape: tuple[int | str, ...]
    kind: str = "integers"
    optional: bool = False


def read_chunks(paths: Sequence[Path], columns: Mapping[str, Column]) -> list[dict[str, Tensor]]:
    """Read chunks of which there is at least one; tensors stay in memory-mapped files.

    Args:
        paths: the files.
        columns: what they hold, by name; tensors of other names are left out.

    Raises:
        DataError: there is none, or one does not hold what it should; names file and tensor.
        CheckpointError: a file is damaged.
    """
    if not paths:
        raise DataError("the folder holds not a single chunk: run the recipe that makes the data")
    return check_chunks([read_tensors(path) for path in paths], paths, columns)


def check_chunks(
    chunks: Sequence[Mapping[str, Tensor]], paths: Sequence[Path], columns: Mapping[str, Column]
) -> list[dict[str, Tensor]]:
    """Check chunks that were read; see :func:`read_chunks`."""
    sizes: dict[str, int] = {}
    dtypes: dict[str, torch.dtype] = {}
    kept: list[dict[str, Tensor]] = []
    for chunk, path in zip(chunks, paths, strict=True):
        sizes.pop("rows", None)
        for name, column in columns.items():
            if name in chunk:
                _check(chunk[name], name, column, sizes, dtypes, path)
            if (name in chunk) != (name in chunks[0] if column.optional else True):
                raise DataError(f"{path} and the chunks beside it differ in having {name!r}: make it again")
        kept.append({name: chunk[name] for name in columns if name in chunk})
    return kept


def _check(
    tensor: Tensor, name: str, column: Column, sizes: dict[str, int], dtypes: dict[str, torch.dtype], path: Path
) -> None:
    fits = tensor.dtype in KINDS[column.kind] and dtypes.setdefault(name, tensor.dtype) == tensor.dtype
    fits = fits and tensor.ndim == len(column.shape)
    wanted = []
    for size, known in zip(tensor.shape, column.shape):
        known = size if known == "*" else known
        wanted.append(sizes.setdefault(known, size) if isinstance(known, str) else known)
        fits = fits and wanted[-1] == size
    if not fits:
        raise DataError(
            f"{path} holds {name!r} as {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} and it must be {column.kind} of the "
            f"shape [{', '.join(map(str, column.shape))}], alike in all chunks: make it again"
        )
