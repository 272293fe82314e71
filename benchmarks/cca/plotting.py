"""Results as tables and figures."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..images.plotting import ACCURACY, FRECHET, RESNET20, TITLES, best
from ..images.study import BASE
from ..markdown import table
from .arms import BASES

__all__ = ["plot", "read", "tables", "way"]

Results = Mapping[str, Any]
Row = Mapping[str, Any]
PRECISION, RECALL = f"precision[{RESNET20}]", f"recall[{RESNET20}]"


def read(folder: Path, name: str) -> list[Results]:
    """Results of a base, one a seed."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(f"cca_{name}_seed*.json"))]


def sweep(one: Results) -> list[Row]:
    """Rows of the base, by guidance."""
    return sorted((row for row in one["rows"] if row["arm"] == BASE), key=lambda row: row["guidance"])


def unguided(one: Results) -> Row:
    """The row of the base at guidance 1, which is none."""
    return next(row for row in sweep(one) if row["guidance"] == 1)


def arms(one: Results, loss: str = "cca") -> list[Row]:
    """Rows of the arms of a loss, by beta and lambda."""
    found = (row for row in one["rows"] if row["arm"] == loss)
    return sorted(found, key=lambda row: (row["beta"], row["negative_weight"]))


def way(one: Results, row: Row) -> dict[str, float]:
    """How far a row is on the way from the base without guidance to the base with the best: 0 at the former, 1 at the latter.

    The best guidance is that of the smallest Fréchet distance; ``highest_accuracy`` is the way to the highest accuracy of the
    sweep, wherever that is. ``flops``: operations of a sample, in those of the base with guidance.
    """
    rows = sweep(one)
    free, top = unguided(one), best({"rows": rows})
    highest = max(entry["values"][ACCURACY] for entry in rows)
    moved = {name: row["values"][name] - free["values"][name] for name in (FRECHET, ACCURACY)}
    whole = {name: top["values"][name] - free["values"][name] for name in (FRECHET, ACCURACY)}
    return {
        "frechet": _share(moved[FRECHET], whole[FRECHET]),
        "accuracy": _share(moved[ACCURACY], whole[ACCURACY]),
        "highest_accuracy": _share(moved[ACCURACY], highest - free["values"][ACCURACY]),
        "flops": row["flops"] / max(entry["flops"] for entry in rows),
    }


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    found = {}
    for name in BASES:
        if measured := [one for one in read(folder, name) if one["rows"]]:
            found[f"cca_{name}"] = arms_table(measured)
            if any(row["arm"] in ("dpo", "unlearning") for one in measured for row in one["rows"]):
                found[f"cca_{name}_ablations"] = ablations_table(measured)
    return found


HEADER = [
    "samples",
    "seeds",
    "Fréchet (ResNet-20)",
    "class accuracy",
    "precision",
    "recall",
    "way to the best guidance: Fréchet",
    "class accuracy",
    "way to the highest accuracy",
    "operations, of guided sampling",
]


def arms_table(measured: Sequence[Results]) -> str:
    """Base without guidance and with the best, then one line for each beta and lambda: mean over seeds, and spread where there are several."""
    lines = [
        _line("base, no guidance", [(one, unguided(one)) for one in measured]),
        _line(_best_guidance(measured), [(one, best({"rows": sweep(one)})) for one in measured]),
    ]
    return table(HEADER, [*lines, *_lines(measured, "cca")])


def ablations_table(measured: Sequence[Results]) -> str:
    """The same of the other losses."""
    return table(HEADER, [line for loss in ("dpo", "unlearning") for line in _lines(measured, loss)])


def plot(folder: Path) -> None:
    """Write, for each base, fidelity against diversity as a figure: the sweep over lambda beside the one over guidance, means over seeds."""
    for name in BASES:
        measured = [one for one in read(folder, name) if arms(one)]
        if not measured:
            continue
        for what, (x, x_label), (y, y_label) in (
            ("diversity", (RECALL, "recall (diversity)"), (PRECISION, "precision (fidelity)")),
            ("accuracy", (ACCURACY, "class accuracy"), (FRECHET, "Fréchet distance on ResNet-20 features")),
        ):
            guided = _points(measured, sweep, lambda row: f"{row['guidance']:g}", x, y)
            title = TITLES[name]
            series = [
                Series(f"{title}, guidance g", guided[0], guided[1], dashed=True),
                *(Series(f"{title} after CCA, no guidance, {of}", *points) for of, points in _aligned(measured, x, y)),
            ]
            figure = line_chart(series, x_label=x_label, y_label=y_label)
            (folder / f"cca_{name}_{what}.svg").write_text(figure, encoding="utf-8")


def _aligned(
    measured: Sequence[Results], x: str, y: str
) -> Iterator[tuple[str, tuple[list[tuple[float, float]], list[str]]]]:
    """Points over lambda, for each beta a line of its own, named where there are several."""
    betas = sorted({row["beta"] for one in measured for row in arms(one)})
    for beta in betas:
        rows_of = partial(_of_beta, beta=beta)
        points = _points(measured, rows_of, lambda row: f"{row['negative_weight']:g}", x, y)
        if points[0]:
            yield ("λ" if len(betas) == 1 else f"β {beta:g}, λ"), points


def _of_beta(one: Results, beta: float) -> list[Row]:
    return [row for row in arms(one) if row["beta"] == beta]


def _points(
    measured: Sequence[Results], rows_of: Any, label: Any, x: str, y: str
) -> tuple[list[tuple[float, float]], list[str]]:
    """Mean of every row over the seeds that have it, in the order of the rows."""
    by_seed = [rows_of(one) for one in measured]
    found: dict[str, list[Row]] = {}
    for row in sorted(
        (row for rows in by_seed for row in rows), key=lambda row: (row["guidance"], row.get("negative_weight", 0))
    ):
        found.setdefault(row["name"], []).append(row)
    points = [
        (fmean(row["values"][x] for row in rows), fmean(row["values"][y] for row in rows)) for rows in found.values()
    ]
    return points, [label(rows[0]) for rows in found.values()]


def _lines(measured: Sequence[Results], loss: str) -> list[list[str]]:
    found: dict[tuple[float, float], list[tuple[Results, Row]]] = {}
    for one in measured:
        for row in arms(one, loss):
            found.setdefault((row["beta"], row["negative_weight"]), []).append((one, row))
    what = {"cca": "CCA", "dpo": "DPO", "unlearning": "unlearning"}[loss]
    return [
        _line(f"{what}, β {beta:g}" + ("" if loss == "dpo" else f", λ {weight:g}"), rows)
        for (beta, weight), rows in sorted(found.items())
    ]


def _line(what: str, rows: Sequence[tuple[Results, Row]]) -> list[str]:
    ways = [way(one, row) for one, row in rows]
    values = [row["values"] for _, row in rows]
    return [
        what,
        f"{len(rows)}",
        _spread([one[FRECHET] for one in values], "{:.2f}"),
        _spread([100 * one[ACCURACY] for one in values], "{:.1f}") + " %",
        _spread([one[PRECISION] for one in values], "{:.3f}"),
        _spread([one[RECALL] for one in values], "{:.3f}"),
        _spread([one["frechet"] for one in ways], "{:.2f}"),
        _spread([one["accuracy"] for one in ways], "{:.2f}"),
        _spread([one["highest_accuracy"] for one in ways], "{:.2f}"),
        _spread([one["flops"] for one in ways], "{:.2f}"),
    ]


def _best_guidance(measured: Iterable[Results]) -> str:
    chosen = sorted({best({"rows": sweep(one)})["guidance"] for one in measured})
    return f"base, g = {' or '.join(f'{scale:g}' for scale in chosen)}"


def _spread(values: Sequence[float], form: str) -> str:
    mean = form.format(fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {form.format(stdev(values))}"


def _share(moved: float, whole: float) -> float:
    return moved / whole if whole else float("nan")
