"""Parquet files: tables of other types and shapes, and damage of pages and of the footer."""

import io
import struct
from random import Random
from typing import Any

from .raw import damaged

__all__ = ["changed_parquet"]


def changed_parquet(data: bytes, random: Random) -> bytes:
    """One change in a table that is written anew, or in the bytes, most of them in the footer."""
    import pyarrow
    from pyarrow import parquet

    way = random.randrange(6)
    if way < 3:
        size = struct.unpack("<I", data[-8:-4])[0] if len(data) > 12 else 0
        start = len(data) - 8 - size
        if way == 0 or not 0 < start < len(data):
            return damaged(data, random)
        return data[:start] + damaged(data[start:-8], random)[:size].ljust(size, b"\0") + data[-8:]
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError, ValueError, KeyError):
        return damaged(data, random)
    if not table.num_columns:
        return damaged(data, random)
    rows = table.num_rows
    at = random.randrange(table.num_columns)
    name = table.column_names[at]
    if way == 3:
        columns: tuple[Any, ...] = (
            pyarrow.array([None] * rows),
            pyarrow.array([1.5] * rows),
            pyarrow.array(["a"] * rows),
            pyarrow.array([b"\xff"] * rows),
            pyarrow.array([2**63 - 1] * rows),
            pyarrow.array([[1]] * rows),
            pyarrow.array([{"bytes": None}] * rows, pyarrow.struct([("bytes", pyarrow.binary())])),
            pyarrow.array([{"bytes": "text"}] * rows),
            pyarrow.array([True] * rows),
            pyarrow.array([[None]] * rows, pyarrow.list_(pyarrow.string())),
            pyarrow.array([10**18] * rows, pyarrow.timestamp("ns")),
            pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array([b"x"])),
        )
        table = table.set_column(at, name, random.choice(columns))
    elif way == 4:
        names = (f"{name}x", "image", "label", "", "text", "\x1b[31m\n")
        table = table.rename_columns(
            [random.choice(names) if place == at else old for place, old in enumerate(table.column_names)]
        )
    else:
        table = random.choice(
            (
                table.slice(0, 0),
                table.slice(0, max(0, rows - 1)),
                table.remove_column(at),
                pyarrow.concat_tables([table, table]),
                # A thousandth of its size in the file: runs of one value.
                _repeated(table),
            )
        )
    file = io.BytesIO()
    parquet.write_table(
        table, file, row_group_size=random.choice((1, 2, 10**6)), compression=random.choice(("none", "snappy", "zstd"))
    )
    return file.getvalue()


def _repeated(table: Any) -> Any:
    count = 200_000 // max(1, table.num_rows)
    return table if table.num_rows == 0 else table.take(list(range(table.num_rows)) * min(count, 2000))
