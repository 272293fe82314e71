"""Numbers of inputs and faults of every loader as a table."""

from collections.abc import Mapping
from typing import Any

from ..markdown import table
from .judge import FAULTS

__all__ = ["markdown_table"]


def markdown_table(results: Mapping[str, Any]) -> str:
    """A row a loader, and the sum of all."""
    rows = results["rows"]
    counted = ("inputs", "accepted", "refused", *FAULTS)
    total = {name: sum(row[name] for row in rows) for name in counted}
    total |= {
        "name": "all",
        "slowest": max((row["slowest"] for row in rows), default=0.0),
        "lines": sum(row["lines"] for row in rows),
    }
    header = ("loader", *counted, "slowest, s", "lines reached")
    cells = [
        (row["name"], *(f"{row[name]:,}" for name in counted), f"{row['slowest']:.2f}", f"{row['lines']:,}")
        for row in [*rows, total]
    ]
    return table(header, cells)
