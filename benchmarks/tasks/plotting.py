"""Accuracy against tokens per forward as a figure and a table, over all seeds."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart

__all__ = ["figure", "markdown_table"]

Rows = Sequence[dict[str, Any]]


def figure(results: Sequence[dict[str, Any]]) -> str:
    """SVG: one curve per block size and commit, points along the thresholds, means over seeds; AR as dashed lines."""
    rows = _means(results)
    curves: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        if "threshold" in row:
            curves.setdefault((row["block_size"], row["commit"]), []).append(row)
    series = [
        Series(
            f"D = {size}, {commit} commit",
            [(row["tokens_per_forward"], row["accuracy"]) for row in sorted(curve, key=lambda r: -r["threshold"])],
        )
        for (size, commit), curve in sorted(curves.items())
    ]
    widest = max(row["tokens_per_forward"] for row in rows)
    series += [
        Series(row["name"], [(1.0, row["accuracy"]), (widest, row["accuracy"])], dashed=True)
        for row in rows
        if "threshold" not in row
    ]
    return line_chart(
        series,
        x_label="generated tokens per forward pass, prefill and commits included",
        y_label="exact answers",
        percent=True,
    )


def markdown_table(results: Sequence[dict[str, Any]]) -> str:
    """All rows, means over seeds, with the spread of the accuracy over seeds where there are several."""
    lines = [
        "| decoder | exact answers | tokens per forward | speed against AR base |",
        "|---|---|---|---|",
    ]
    for row in _means(results):
        spread = f" ± {100 * row['spread']:.1f}" if row["spread"] is not None else ""
        lines.append(
            f"| {row['name']} | {100 * row['accuracy']:.1f}{spread} % | {row['tokens_per_forward']:.2f} | {row['speed']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _means(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows averaged over seeds, in the order of the first; ``spread`` is the standard deviation of the accuracy."""
    merged = []
    for row in results[0]["rows"]:
        same = [other for result in results for other in result["rows"] if other["name"] == row["name"]]
        accuracies = [other["accuracy"] for other in same]
        merged.append(
            {
                **row,
                "accuracy": fmean(accuracies),
                "spread": stdev(accuracies) if len(accuracies) > 1 else None,
                **{key: _mean(same, key) for key in ("tokens_per_forward", "speed")},
            }
        )
    return merged


def _mean(rows: Iterable[dict[str, Any]], key: str) -> float:
    return fmean(row[key] for row in rows)
