"""Results as a table and a figure."""

from collections.abc import Iterable
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..markdown import table

__all__ = ["figure", "markdown_table"]


def markdown_table(results: dict[str, Any]) -> str:
    """One line per decoder: tokens per forward in all and by kind of prompt, speed, and whether the output is AR's."""
    rows = results["rows"]
    kinds = list(rows[0]["tokens_per_forward_by_category"])
    header = ["decoder", "TPF", *(f"TPF {kind}" for kind in kinds), "speed", "equal to AR", "largest margin"]
    lines: list[Iterable[str]] = []
    for row in rows:
        by_kind = [f"{row['tokens_per_forward_by_category'][kind]:.2f}" for kind in kinds]
        equal = f"{row['problems'] - len(row['first_differences'])}/{row['problems']}"
        lines.append(
            [row["name"], f"{row['tokens_per_forward']:.2f}", *by_kind, f"{row['speed']:.2f}", equal, _margin(row)]
        )
    return table(header, lines)


def figure(results: dict[str, Any]) -> str:
    """SVG: speed against AR over tokens per forward, one point per decoder."""
    series = [
        Series(row["name"], [(row["tokens_per_forward"], row["speed"])], labels=(f"{row['speed']:.2f}",))
        for row in results["rows"]
    ]
    return line_chart(
        series,
        x_label="generated tokens per forward pass of the verifier, prefill included",
        y_label="speed against AR",
    )


def _margin(row: dict[str, Any]) -> str:
    margins = [difference["margin"] for difference in row["first_differences"]]
    if not margins:
        return ""
    return "no bound" if None in margins else f"{max(margins):.1e}"
