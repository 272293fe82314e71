"""Safetensors files and NumPy arrays whose headers lie."""

import io
import json
import struct
from random import Random
from typing import Any

import numpy as np

from .json_text import changed_tree
from .raw import damaged

__all__ = ["changed_npy", "changed_safetensors", "hostile_npy"]

DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "U16",
    "U64",
    "F4",
    "X",
    "",
    3,
)
SHAPES = (
    [],
    [0],
    [1],
    [-1],
    [2**62, 4],
    [2**63],
    [1] * 70,
    [0, 2**62],
    ["a"],
    [1.5],
    None,
    [2**31, 2**31, 2**31],
    [[1]],
)
SPECIAL = (
    struct.pack("<f", float("nan")),
    struct.pack("<f", float("inf")),
    struct.pack("<q", -1),
    struct.pack("<q", 2**63 - 1),
    struct.pack("<q", -(2**63)),
    struct.pack("<i", 2**31 - 1),
    struct.pack("<i", -1),
    struct.pack("<q", 2**40),
)
DESCRIPTIONS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<i8', 'fortran_order': True, 'shape': (2, 2), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': 3, }",
    "{'descr': [('a', '<i8'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '|V9', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '>i8', 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4, 4, 3), }",
    "{'descr': '|b1', 'fortran_order': False, 'shape': (1099511627776, 0), }",
    "__import__('os').system('touch ar_fuzz_canary')",
    "(" * 300 + ")" * 300,
    "{'descr': '<i8', 'fortran_order': False, 'shape': (" + "1, " * 40 + "), }",
    "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }",
)


def changed_safetensors(data: bytes, random: Random) -> bytes | None:
    """One change in the header, its length or the numbers; None where it is no such file."""
    try:
        length = struct.unpack("<Q", data[:8])[0]
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        names = [name for name in header if name != "__metadata__"]
        body = data[8 + length :]
        name = random.choice(names)
        entry = dict(header[name])
        begin, end = entry["data_offsets"]
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError):
        return None
    way = random.randrange(13)
    if way == 0:
        entry["dtype"] = random.choice(DTYPES)
    elif way == 1:
        entry["shape"] = random.choice(SHAPES)
    elif way == 2:
        entry["data_offsets"] = random.choice(
            (
                [begin, end + 8],
                [begin - 8, end],
                [end, begin],
                [0, len(body)],
                [-1, 2**63],
                [2**64, 2**64],
                [begin],
                "x",
                [0.5, 1],
            )
        )
    elif way == 3:
        other = random.choice(names)
        entry["data_offsets"] = header[other]["data_offsets"]
    elif way == 4:
        # Consistent, so that what lies behind the format is reached: another shape of as many numbers.
        count = int(np.prod(entry["shape"], dtype=np.float64))
        entry["shape"] = random.choice(
            ([count], [count, 1], [1, count], [1, *entry["shape"]], [*reversed(entry["shape"])])
        )
    elif way == 5:
        # Consistent as well: fewer rows.
        shape = entry["shape"]
        if not shape or not shape[0]:
            return None
        width = (end - begin) // shape[0]
        keep = random.randrange(shape[0])
        return _packed({**header, name: {**entry, "shape": [keep, *shape[1:]]}}, name, body, keep * width)
    elif way == 6:
        return _packed({key: value for key, value in header.items() if key != name}, None, body, 0)
    elif way == 7:
        header = {(f"{key}x" if key == name else key): value for key, value in header.items()}
        return _joined(header, body)
    elif way == 8 and end > begin:
        at = begin + random.randrange(end - begin) // 8 * 8
        value = random.choice(SPECIAL)
        return _joined(header, body[:at] + value[: len(body) - at] + body[at + len(value) :])
    elif way == 9:
        return (
            struct.pack("<Q", random.choice((0, 1, 2**63, 2**64 - 1, 10**8, 10**8 + 1, length + 1, length - 1)))
            + data[8:]
        )
    elif way == 10:
        return _joined(header, damaged(body, random))
    elif way == 11:
        return _joined(header, body, padding=random.choice((b" " * 7, b"\0", b"}", b"{", b"\n" * 4000)))
    else:
        return _joined(changed_tree(header, random), body)
    return _joined({**header, name: entry}, body)


def _joined(header: Any, body: bytes, padding: bytes = b"") -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass") + padding
    return struct.pack("<Q", len(text)) + text + body


def _packed(header: dict[str, Any], cut: str | None, body: bytes, size: int) -> bytes:
    """The tensors of a header end to end, one of them cut to so many bytes."""
    parts, at, packed = [], 0, {}
    for name, entry in header.items():
        if name == "__metadata__":
            packed[name] = entry
            continue
        begin, end = entry["data_offsets"]
        part = body[begin : begin + size] if name == cut else body[begin:end]
        parts.append(part)
        packed[name] = {**entry, "data_offsets": [at, at + len(part)]}
        at += len(part)
    return _joined(packed, b"".join(parts))


def changed_npy(data: bytes, random: Random) -> bytes:
    """One change in a NumPy array's file: another header, another array, damage."""
    way = random.randrange(4)
    if way == 0:
        return hostile_npy(random)
    if way == 1:
        return _saved(
            random.choice(
                (
                    np.zeros((2, 3)),
                    np.array([np.nan, np.inf]),
                    np.array(7),
                    np.array([2**63 - 1, -(2**63)]),
                    np.array(["a", "b"]),
                    np.zeros((0,), np.int64),
                    np.zeros((1, 1, 1, 1), np.int32),
                    np.array([True]),
                    np.array([1j]),
                    np.full((2, 2), 2**40),
                )
            )
        )
    end = data.find(b"}", 0, 4096)
    if way == 2 and end > 0:
        return damaged(data[: end + 1], random) + data[end + 1 :]
    return damaged(data, random)


def hostile_npy(random: Random) -> bytes:
    """A header that promises what is not there, or asks for code to be run."""
    text = random.choice(DESCRIPTIONS).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    major = random.choice((1, 1, 2, 3, 9))
    length = struct.pack("<H", len(text) % 2**16) if major == 1 else struct.pack("<I", len(text))
    return (
        b"\x93NUMPY"
        + bytes([major, 0])
        + length
        + text
        + random.choice((b"", bytes(64), b"cos\nsystem\n(S'true'\ntR."))
    )


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
