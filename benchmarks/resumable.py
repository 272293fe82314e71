"""Results that grow row by row: what was measured on this device is kept, the rest is measured."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ar_decode.output import write_text

__all__ = ["Row", "measure_missing"]

Row = dict[str, Any]


def measure_missing(
    file: Path,
    head: Mapping[str, Any],
    cases: Iterable[tuple[str, Callable[[], Row]]],
    *,
    again: bool = False,
    tell: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measure the cases that a file of results lacks; it is written anew behind each of them.

    Args:
        file: JSON, made if it is not there.
        head: what stands beside the rows; ``environment`` has the ``device``, and rows of another device are not kept.
        cases: name and measurement of each row; taken one by one, so that only one at a time need be in memory.
        again: keep nothing.
        tell: called with each row that was measured.

    Returns:
        All rows, kept ones first; each has a ``name``.
    """
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() and not again else {}
    same = known.get("environment", {}).get("device") == head["environment"]["device"]
    rows: list[Row] = known["rows"] if same else []
    for name, measure in cases:
        if any(row["name"] == name for row in rows):
            continue
        rows.append(measure())
        write_text(file, json.dumps({**head, "rows": rows}, indent=1) + "\n")
        tell(rows[-1])
    return rows
