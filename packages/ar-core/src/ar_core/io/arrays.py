"""NumPy arrays from files that anyone may have written."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from .bounded import Bounded

__all__ = ["array_header", "read_array", "read_array_file"]

AT_ONCE = 1 << 20
HEADER = 1 << 16
"""Bytes; what NumPy accepts is shorter."""


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran order, dtype) of an array; the file stands at its first number afterwards.

    Raises:
        ValueError: it is no array, or one of Python objects.
    """
    bounded: Any = Bounded(file, HEADER, lambda asked: ValueError(f"its header promises {asked} bytes of text"))
    try:
        version = npy.read_magic(bounded)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"its version is {version}")
        # NumPy reads the third version, which differs in how names of fields are encoded, with the same function.
        shape, fortran, dtype = (
            npy.read_array_header_1_0(bounded) if version == (1, 0) else npy.read_array_header_2_0(bounded)
        )
    except ValueError:
        raise
    except Exception as error:
        # Headers are Python literals, and the parser raises errors of many kinds.
        raise ValueError(f"its header is damaged ({type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {list(shape)}")
    return shape, fortran, dtype


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read an array whose numbers are all there, never unpickling anything.

    Args:
        file: stands at the array's beginning.
        size: bytes of the file or archive member; the array takes no more memory.

    Raises:
        ValueError: it is no array, one of Python objects, or larger than the file.
    """
    shape, fortran, dtype = array_header(file)
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize > size:
        raise ValueError(f"its header promises {count * dtype.itemsize} bytes and the file has {size}")
    if not dtype.itemsize:
        raise ValueError("its numbers have no bytes")
    array = np.empty(count, dtype)
    into = array.view(np.uint8).data if count else memoryview(b"")
    filled = 0
    while filled < len(into):
        part = file.read(min(AT_ONCE, len(into) - filled))
        if not part:
            raise ValueError("it is truncated")
        into[filled : filled + len(part)] = part
        filled += len(part)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def read_array_file(path: Path) -> np.ndarray:
    """Read the array of a ``.npy`` file.

    Raises:
        OSError: it cannot be read.
        ValueError: as :func:`read_array`.
    """
    with path.open("rb") as file:
        return read_array(file, path.stat().st_size)
