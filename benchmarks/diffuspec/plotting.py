"""Results as tables and a figure, means over seeds where there are several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..markdown import table

__all__ = ["category_table", "figure", "markdown_table"]

PHASES = ("draft", "search", "verify")


def markdown_table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line per decoder: whether it is lossless, passes and operations per token, speed, and where its time went."""
    header = [
        "decoder",
        "equal to AR",
        "verifier TPF",
        "verifier passes a token",
        "drafter passes a token",
        "operations a token against AR",
        "speed against AR",
        "time: draft, search, verify",
    ]
    lines: list[Iterable[str]] = []
    for name, same in _by_name(results).items():
        mean = _mean_of(same)
        lines.append(
            [
                name,
                f"{100 * mean(lambda row: row['identical']):.1f} %",
                f"{mean(lambda row: row['tokens_per_forward']):.2f}",
                f"{mean(lambda row: row['costs_per_token']['verifier_forwards']):.3f}",
                f"{mean(lambda row: row['costs_per_token']['drafter_forwards']):.3f}",
                f"{fmean(_operations(results)[name]):.2f}",
                f"{mean(lambda row: row['speed']):.2f}",
                ", ".join(f"{100 * fmean(_share(row, phase) for row in same):.0f} %" for phase in PHASES),
            ]
        )
    return table(header, lines)


def category_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Verifier TPF and speed against AR of every decoder on each kind of prompt."""
    kinds = list(results[0]["rows"][0]["by_category"])
    lines: list[Iterable[str]] = []
    for name, same in _by_name(results).items():
        cells = []
        for kind in kinds:
            parts = [row["by_category"][kind] for row in same]
            cells.append(
                ", ".join(f"{fmean(part[key] for part in parts):.2f}" for key in ("tokens_per_forward", "speed"))
            )
        lines.append([name, *cells])
    return table(["decoder: TPF, speed", *kinds], lines)


def figure(results: Sequence[Mapping[str, Any]]) -> str:
    """SVG: verifier TPF over operations per token, both models', against AR's; a family has one proxy and policy a point."""
    operations = _operations(results)
    families: dict[str, list[tuple[float, float]]] = {}
    for name, same in _by_name(results).items():
        family = ", ".join(name.split(", ")[:2])
        point = (fmean(operations[name]), _mean_of(same)(lambda row: row["tokens_per_forward"]))
        families.setdefault(family, []).append(point)
    return line_chart(
        [Series(family, sorted(points)) for family, points in families.items()],
        x_label="operations of verifier and drafter per token, against AR's",
        y_label="generated tokens per forward pass of the verifier",
    )


def _operations(results: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Operations per token over those of AR in the same results, by decoder."""
    found: dict[str, list[float]] = {}
    for result in results:
        baseline = result["rows"][0]["costs_per_token"]["flops"]
        for row in result["rows"]:
            found.setdefault(row["name"], []).append(row["costs_per_token"]["flops"] / baseline)
    return found


def _by_name(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of all results by decoder, in the order of the first."""
    found: dict[str, list[Mapping[str, Any]]] = {row["name"]: [] for row in results[0]["rows"]}
    for result in results:
        for row in result["rows"]:
            found[row["name"]].append(row)
    return found


def _mean_of(rows: Sequence[Mapping[str, Any]]) -> Callable[[Callable[[Mapping[str, Any]], float]], float]:
    return lambda figure: fmean(figure(row) for row in rows)


def _share(row: Mapping[str, Any], phase: str) -> float:
    """A phase's share of the wall clock; AR verifies nothing, its passes are its steps."""
    seconds = row["seconds_by_phase"]
    own = seconds.get(phase, 0.0) + (seconds.get("step", 0.0) if phase == "verify" else 0.0)
    return own / row["seconds"]
