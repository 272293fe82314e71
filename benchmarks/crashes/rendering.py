"""The results as a table."""

from collections.abc import Mapping
from typing import Any

from ..markdown import table

__all__ = ["markdown_table"]


def markdown_table(results: Mapping[str, Any]) -> str:
    """A row for each job and one for all."""
    rows = sorted(results["rows"].items(), key=lambda item: (item[1]["kind"], item[0]))
    cells = [
        [
            f"`{name}`" if " " not in name else name,
            row["kind"],
            f"{len(row['done'])} of {row['boundaries']}",
            str(row["kills_at_boundaries"]),
            str(row["kills_at_moments"]),
            str(row["jobs"]),
            str(len(row["lost"])),
        ]
        for name, row in rows
    ]
    sums = [str(sum(row[key] for _, row in rows)) for key in ("kills_at_boundaries", "kills_at_moments", "jobs")]
    lost = str(sum(len(row["lost"]) for _, row in rows))
    cells.append(["all", "", "", *sums, lost])
    header = ("job", "kind", "write boundaries tried", "kills there", "kills at random times", "jobs finished", "lost")
    return table(header, cells)
