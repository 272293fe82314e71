"""Results as tables and a figure."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.bars import Bars, bar_chart
from benchmarks.language.plotting import rows_table
from benchmarks.markdown import table

from .comparison import compared

__all__ = ["figure", "seeds_table", "tables", "tasks_table"]

Results = dict[str, Any]


def tables(folder: Path) -> dict[str, str]:
    """Every table that the results of a folder can be rendered as, by name: Markdown."""
    found = {}
    if seeds := read_seeds(folder):
        found = {"jacobi_forcing_tasks": tasks_table(seeds), "jacobi_forcing_tasks_seeds": seeds_table(seeds)}
    for file in sorted(folder.glob("jacobi_forcing_*.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        if results["kind"] == "jacobi_forcing_text":
            found[file.stem] = rows_table([results])
    return found


def read_seeds(folder: Path) -> list[Results]:
    """Results of the task model, in the order of the seeds."""
    files = folder.glob("jacobi_forcing_tasks_seed*.json")
    return sorted((json.loads(file.read_text(encoding="utf-8")) for file in files), key=lambda result: result["seed"])


def tasks_table(results: Sequence[Results]) -> str:
    """One line per decoder and model: tokens per forward of each seed and their mean, and over all seeds the accuracy, the
    speed, the promoted blocks, and how many outputs are those of the same model's AR.
    """
    header = ["decoder", "TPF"]
    if len(results) > 1:
        header += [f"TPF seed {result['seed']}" for result in results]
    header += ["exact answers", "speed against AR base", "promoted blocks", "equal to its model's AR"]
    lines: list[Iterable[str]] = []
    for name in dict.fromkeys(row["name"] for result in results for row in result["rows"]):
        rows = [next((row for row in result["rows"] if row["name"] == name), None) for result in results]
        there = [row for row in rows if row is not None]
        cells = [name, f"{fmean(row['tokens_per_forward'] for row in there):.2f}"]
        if len(results) > 1:
            cells += ["" if row is None else f"{row['tokens_per_forward']:.2f}" for row in rows]
        cells += [
            f"{100 * fmean(row['accuracy'] for row in there):.1f} %",
            f"{fmean(row['speed'] for row in there):.2f}",
            *(_total(there, key) for key in ("promoted", "equal_outputs")),
        ]
        lines.append(cells)
    return table(header, lines)


def seeds_table(results: Sequence[Results]) -> str:
    """One line per trained model, n and seed: what Jacobi Forcing did to accuracy and to plain Jacobi decoding, and on how many
    problems the trained model needs fewer, as many or more forwards with a second block in flight.
    """
    header = [
        "model",
        "n",
        "seed",
        "AR base",
        "AR control",
        "AR of the model",
        "change in points",
        "Jacobi TPF before",
        "after",
        "ratio",
        "K=2 against K=1: fewer, equal, more forwards",
        "promoted blocks",
    ]
    lines: list[Iterable[str]] = []
    found = [
        (model, length, compared(result, model, length)) for result in results for model, length in _trained(result)
    ]
    for model, length in dict.fromkeys((model, length) for model, length, _ in found):
        same = [one for name, size, one in found if (name, size) == (model, length)]
        for one in same:
            lines.append([model, str(length), str(one.seed), *one.cells()])
        if len(same) > 1:
            changes, ratios = fmean(one.points for one in same), fmean(one.ratio for one in same)
            cells = [f"{changes:+.1f}", "", "", f"{ratios:.2f}", "", ""]
            lines.append([model, str(length), "mean", "", "", "", *cells])
    return table(header, lines)


def figure(results: Sequence[Results]) -> str:
    """SVG: tokens per forward of each decoder before and after, means over seeds, a dot for each seed; accuracy beside."""
    models = list(dict.fromkeys(row["model"] for result in results for row in result["rows"] if row["decoder"] != "AR"))
    kinds = dict.fromkeys(
        (row["decoder"], row["block_length"]) for result in results for row in result["rows"] if row["decoder"] != "AR"
    )
    bars = []
    for model in models:
        accuracy = fmean(row["accuracy"] for row in _rows(results, model, "AR", None))
        values = [[row["tokens_per_forward"] for row in _rows(results, model, *kind)] for kind in kinds]
        bars.append(Bars(f"{model}: {100 * accuracy:.1f} % exact answers", values))
    return bar_chart(
        [f"{decoder}, n={length}" for decoder, length in kinds],
        bars,
        x_label="generated tokens per forward pass, prefill included; one at a time by AR",
    )


def _trained(result: Results) -> list[tuple[str, int]]:
    """Models and block lengths that can be held against the base."""
    pairs = ((row["model"], row["block_length"]) for row in result["rows"] if row["decoder"] != "AR")
    return [(model, length) for model, length in dict.fromkeys(pairs) if model != "base"]


def _rows(results: Sequence[Results], model: str, decoder: str, length: int | None) -> Iterable[dict[str, Any]]:
    wanted = (model, decoder, length)
    return [
        row
        for result in results
        for row in result["rows"]
        if (row["model"], row["decoder"], row.get("block_length")) == wanted
    ]


def _total(rows: Sequence[dict[str, Any]], key: str) -> str:
    if key not in rows[0]:
        return ""
    total = str(sum(row[key] for row in rows))
    return f"{total}/{sum(row['problems'] for row in rows)}" if key == "equal_outputs" else total
