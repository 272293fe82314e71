"""What is fuzzed: a loader, and valid files to begin from."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Files", "Loader", "files_in", "write_files"]

Files: TypeAlias = dict[str, bytes]
"""An input: contents by relative path."""


@dataclass(frozen=True)
class Loader:
    """A loader of the workspace.

    Attributes:
        name: room and what is read, such as ``ar_core/safetensors``; unique.
        seeds: yields functions that write a valid input each into a folder.
        read: reads the input in a folder, all of it: what is lazy is consumed.
        share: inputs that it gets, in shares of what others get; less where one takes long.
        contained: whether files outside of the folder must not be opened, whatever the input names.
    """

    name: str
    seeds: Callable[[], Iterator[Callable[[Path], None]]]
    read: Callable[[Path], object]
    share: float = 1.0
    contained: bool = True


def files_in(folder: Path) -> Files:
    """The files below a folder by relative path, in sorted order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an input into a folder."""
    for name, data in files.items():
        path = folder / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(data)
