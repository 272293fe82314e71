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
    """Measure the cases that a file of results lacks, or has without times; it is written anew behind each of them.

    Args:
        file: JSON, made if it is not there.
        head: what stands beside the rows. Rows of another head are not kept, but for what ``ceilings`` were measured and, of
            the ``environment``, all but the ``device`` and the ``versions``.
        cases: name and measurement of each row; taken one by one, so that only one at a time need be in memory.
        again: keep nothing.
        tell: called with each row that was measured.

    Returns:
        All rows, kept ones first; each has a ``name``, and the ``date`` and ``commit`` at which it was measured.
    """
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() and not again else {}
    stays = {key: value for key, value in head.items() if key not in ("environment", "ceilings")}
    where = known.get("environment", {})
    same = stays.items() <= known.items() and all(
        where.get(key) == head["environment"][key] for key in ("device", "versions")
    )
    rows: list[Row] = [row for row in known["rows"] if not row["error"] and not row.get("not_run")] if same else []
    moment = {key: head["environment"][key] for key in ("date", "commit")}
    for name, measure in cases:
        if any(row["name"] == name for row in rows):
            continue
        rows.append({**measure(), **moment})
        write_text(file, json.dumps({**head, "rows": rows}, indent=1) + "\n")
        tell(rows[-1])
    return rows
