"""Published checkpoints that only exist as pickles."""

import pickle
import pickletools
import re
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

__all__ = ["read_pickle"]


PICKLES = 5
"""Of a file in the older layout: two that tell it apart, one of the machine, the content, the order of the numbers."""


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
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            promised = sum(member.file_size for member in archive.infolist())
    else:
        promised = _largest_storage(path)
    if promised > size:
        raise CheckpointError(f"{path} has {size} bytes and promises {promised}: download it again")


def _largest_storage(path: Path) -> int:
    """Most numbers of a tensor that a file of the older layout says that it holds.

    Its pickles lie end to end in front of the numbers, and memory is taken as soon as one names a tensor's storage.
    """
    largest = 0
    with path.open("rb") as file, suppress(Exception):
        # What is damaged is the unpickler's to say.
        for _ in range(PICKLES):
            numbers: list[int] = []
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "MARK":
                    numbers = []
                elif type(argument) is int and ("INT" in opcode.name or "LONG" in opcode.name):
                    numbers.append(argument)
                elif opcode.name == "BINPERSID":
                    largest = max(largest, *numbers)
    return largest


def _looks_like_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
