"""Published checkpoints that only exist as pickles."""

import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from .bounded import Bounded

__all__ = ["read_pickle"]


PICKLES = 5
"""Of a file in the older layout: two that tell it apart, one of the machine, the content, the order of the numbers."""
MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of that layout holds; torch reads no further where it does not."""
ARCHIVE = b"PK\x03\x04"
"""Beginning of a file in the newer layout."""
SPARE = 64
"""Bytes that may be asked for beyond what a file has: those of one command."""


def read_pickle(path: str | Path, allow: tuple[type, ...] = ()) -> Any:
    """Read a ``torch.save`` file without running code from it; convert it once and keep the safetensors file.

    Args:
        path: The file.
        allow: Classes beyond tensors and plain containers that the file may hold.

    Raises:
        CheckpointError: Missing, damaged, or holding something that is not allowed.
    """
    path = Path(path)
    try:
        _check_sizes(path)
        with torch.serialization.safe_globals(list(allow)), warnings.catch_warnings():
            # Of pickle protocols, in the words of torch's developers; what cannot be read is said below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except pickle.UnpicklingError as error:
        # Torch's message gives advice for reading the file all the same.
        forbidden = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
        if forbidden is None and not _looks_like_pickle(path):
            raise CheckpointError(f"{path} is no torch file: download it again") from error
        raise CheckpointError(
            f"{path} holds {forbidden.group(1) if forbidden else 'something'} beside tensors and is not read, since that could run "
            "code: use the safetensors release, or a file of tensors alone"
        ) from error
    except CheckpointError:
        raise
    except Exception as error:
        # The unpickler raises errors of any kind where commands or their arguments are damaged.
        raise CheckpointError(
            f"{path} is damaged or no torch file ({_first_line(error)}): download it again"
        ) from error


def _check_sizes(path: Path) -> None:
    """Refuse an archive whose members, or whose tensors, would be larger than the file.

    ``torch.save`` compresses nothing, so that nothing can be; without the check a small file may ask for any amount of memory.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        # Torch tells by these alone; an archive's directory may also stand behind a pickle.
        archived = file.read(len(ARCHIVE)) == ARCHIVE
    if archived:
        with zipfile.ZipFile(path) as archive:
            promised = sum(member.file_size for member in archive.infolist())
    else:
        promised = _largest_storage(path)
    if promised > size:
        raise _promises(path, size, promised)


def _promises(path: Path, size: int, promised: int) -> CheckpointError:
    return CheckpointError(f"{path} has {size} bytes and promises {promised}: download it again")


def _largest_storage(path: Path) -> int:
    """Most numbers of a tensor that a file of the older layout says that it holds.

    Its pickles lie end to end in front of the numbers, and memory is taken as soon as one names a tensor's storage, or a text of
    some length.

    Raises:
        CheckpointError: a command asks for more than the file has.
        ValueError: commands that torch would come to are damaged.
    """
    size = path.stat().st_size
    largest = 0
    magic = False
    with path.open("rb") as file:
        bounded: Any = Bounded(file, size + SPARE, lambda asked: _promises(path, size, asked))
        for position in range(PICKLES):
            numbers: list[int] = []
            try:
                for opcode, argument, _ in pickletools.genops(bounded):
                    if opcode.name == "MARK":
                        numbers = []
                    elif type(argument) is int and ("INT" in opcode.name or "LONG" in opcode.name):
                        numbers.append(argument)
                        magic = magic or (position == 0 and argument == MAGIC)
                    elif opcode.name == "BINPERSID":
                        largest = max([largest, *numbers])
            except ValueError as error:
                if position == 0 and not _looks_like_pickle(path):
                    raise CheckpointError(f"{path} is no torch file: download it again") from error
                # Without the number torch reads the first pickle alone, and says best what it holds.
                if position == 0 or magic:
                    raise
                return largest
    return largest


def _looks_like_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
