"""Accuracy against tokens per forward as a figure and a table, over all seeds."""

from collections.abc import Iterable, Sequence
from math import inf
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart

__all__ = ["family", "figure", "is_autoregressive", "markdown_table"]

Rows = Sequence[dict[str, Any]]


def figure(results: Sequence[dict[str, Any]]) -> str:
    """SVG: one curve per block size and commit, points along the thresholds, and a point for any other decoder, means over
    seeds; AR as dashed lines."""
    rows = _means(results)
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if not is_autoregressive(row):
            curves.setdefault(family(row), []).append(row)
    series = [
        Series(name, [(row["tokens_per_forward"], row["accuracy"]) for row in sorted(curve, key=_threshold)])
        for name, curve in sorted(curves.items(), key=lambda item: (item[1][0].get("block_size", inf), item[0]))
    ]
    widest = max(row["tokens_per_forward"] for row in rows)
    series += [
        Series(row["name"], [(1.0, row["accuracy"]), (widest, row["accuracy"])], dashed=True)
        for row in rows
        if is_autoregressive(row)
    ]
    return line_chart(
        series,
        x_label="generated tokens per forward pass, prefill and commits included",
        y_label="exact answers",
        percent=True,
    )


def is_autoregressive(row: dict[str, Any]) -> bool:
    """Whether a row is one of the models that are compared with, not a decoder of the conversion."""
    return str(row["name"]).startswith("AR ")


def family(row: dict[str, Any]) -> str:
    """What a row shares with those that differ in the threshold alone."""
    if "commit" in row:
        return f"D = {row['block_size']}, {row['commit']} commit"
    return str(row["name"]).partition(" threshold")[0]


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


def _threshold(row: dict[str, Any]) -> float:
    return -float(row.get("threshold", 0.0))


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
