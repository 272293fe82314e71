"""Results as tables and figures."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from ar_core.errors import DataError
from ar_quickstart.chart import Series, line_chart

from benchmarks.markdown import table

from .comparison import ACCURACY, FRECHET, RECALL, Comparison, Results, compared, rows_of, slower
from .setups import CONTROL_NAME, SETUPS, STUDENT, TEACHER
from .texts_table import texts_table

__all__ = ["figure", "gap_table", "plot", "read", "tables", "training_table", "ways_table"]

TITLES = {"var": "VAR", "llamagen": "LlamaGen", "emoji": "LlamaGen of emoji"}


def read(folder: Path) -> dict[str, list[Results]]:
    """Results by model, in the order of the seeds; those without rows of all four that are compared are left out."""
    found: dict[str, list[Results]] = {}
    for model in SETUPS:
        files = folder.glob(f"distilled_decoding_{model}_seed*.json")
        results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        whole = [one for one in results if {TEACHER, CONTROL_NAME, STUDENT} <= rows_of(one).keys()]
        if whole:
            found[model] = sorted(whole, key=lambda one: one["seed"])
    return found


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    found = read(folder)
    if not found:
        return {}
    made = {
        f"distilled_decoding_{model}": (texts_table if SETUPS[model].texts else ways_table)(results)
        for model, results in found.items()
    }
    every = [one for results in found.values() for one in results]
    of_classes = [one for one in every if not SETUPS[one["model"]].texts]
    if of_classes:
        made["distilled_decoding_gap"] = gap_table(of_classes)
    return {"distilled_decoding_training": training_table(every), **made}


def ways_table(results: Sequence[Results]) -> str:
    """One line a way of sampling, means over the seeds: calls, quality, diversity and time."""
    batches = sorted({row["batch"] for one in results for row in one["rows"] if "batch" in row})
    header = [
        "way",
        "calls a batch",
        "rows an image",
        "Fréchet (ResNet-20)",
        *([f"seed {one['seed']}" for one in results] if len(results) > 1 else []),
        "class accuracy",
        "recall",
        "distinct images a label",
        *(f"times as fast as the teacher, {batch} image{'s' if batch > 1 else ''}" for batch in batches),
    ]
    lines: list[Iterable[str]] = []
    for name in dict.fromkeys(name for one in results for name in rows_of(one)):
        there = [one for one in results if name in rows_of(one)]
        rows = [rows_of(one)[name] for one in there]
        cells = [name, _several({row["calls"] for row in rows}), _several({row["rows_per_image"] for row in rows})]
        cells.append(f"{fmean(row['values'][FRECHET] for row in rows):.2f}")
        if len(results) > 1:
            cells += [f"{rows_of(one)[name]['values'][FRECHET]:.2f}" if one in there else "" for one in results]
        cells += [
            f"{100 * fmean(row['values'][ACCURACY] for row in rows):.1f} %",
            f"{fmean(row['values'][RECALL] for row in rows):.3f}",
            _distinct([row["distinct"] for row in rows]),
        ]
        for batch in batches:
            ratios = [ratio for one in there if (ratio := slower(one, name, batch)) is not None]
            cells.append(f"{fmean(ratios):.2f}" if ratios else "")
        lines.append(cells)
    return table(header, lines)


def gap_table(results: Sequence[Results]) -> str:
    """One line a model and seed: how far one pass of the student comes from the best factorised model towards the teacher."""
    header = [
        "model",
        "seed",
        "Fréchet (ResNet-20): teacher",
        "all codes at once",
        "control (c)",
        "student, 1 pass",
        "share of the gap closed from (c)",
        "from all at once",
        "class accuracy: teacher",
        "control (c)",
        "student",
        "closed from (c)",
    ]
    lines: list[Iterable[str]] = []
    for model in dict.fromkeys(one["model"] for one in results):
        same = [one for one in results if one["model"] == model]
        pairs = [(compared(one), compared(one, ACCURACY)) for one in same]
        lines += [[TITLES[model], str(one["seed"]), *_gap_cells(*pair)] for one, pair in zip(same, pairs, strict=True)]
        if len(same) > 1:
            means = [_mean([pair[place] for pair in pairs]) for place in (0, 1)]
            lines.append([TITLES[model], "mean", *_gap_cells(*means)])
    return table(header, lines)


def training_table(results: Sequence[Results]) -> str:
    """One line a model and seed: pairs, how well the flow was solved, and what student and control know of held-out pairs."""
    header = [
        "model",
        "seed",
        "pairs",
        "draws that agree with the tight solver",
        "evaluations a draw",
        "parameters",
        "steps",
        "held-out codes right, from noise: student",
        "control (c)",
        "held-out NLL, nats a code: student",
        "control (c)",
    ]
    lines: list[Iterable[str]] = []
    for one in results:
        counts, training = one["pairs"], one["training"]
        checked, draws = counts.get("checked", 0), counts["pairs"] * one["tokens"]
        student, control = (training[name]["evaluations"][-1]["evaluation"] for name in ("student", "control"))
        lines.append(
            [
                TITLES[one["model"]],
                str(one["seed"]),
                f"{counts['pairs']:,}",
                f"{counts['agreeing']:,} of {checked:,}" if checked else "",
                f"{counts['evaluations'] / draws:.1f}",
                f"{one['parameters']['student']:,}",
                f"{training['student']['steps']:,}",
                *(f"{100 * own['held_out_accuracy_0']:.1f} %" for own in (student, control)),
                *(f"{own['held_out_nll_0']:.3f}" for own in (student, control)),
            ]
        )
    return table(header, lines)


def figure(results: Sequence[Results]) -> str:
    """SVG: Fréchet distance over calls, means over the seeds."""
    setup = SETUPS[results[0]["model"]]
    ways = list(setup.students)

    def points(names: Sequence[str]) -> list[tuple[float, float]]:
        found = []
        for name in names:
            rows = [rows_of(one)[name] for one in results if name in rows_of(one)]
            if rows:
                found.append((float(rows[0]["calls"]), fmean(row["values"][FRECHET] for row in rows)))
        return sorted(found)

    at_once = [name for name in rows_of(results[0]) if "at once" in name]
    series = [
        Series("student: 1, 2, 3 passes", points(ways[:3])),
        Series("student and some passes of the teacher", points([STUDENT, *ways[4:]])),
        Series("teacher, its last units or all of them at once", points([*at_once, TEACHER]), dashed=True),
        Series("control (c)", points([CONTROL_NAME])),
        Series("teacher", points([TEACHER])),
    ]
    return line_chart(
        [one for one in series if one.points],
        x_label="calls of a model for a batch",
        y_label="Fréchet distance on ResNet-20 features",
        title=f"Distilled Decoding of {TITLES[setup.name]}",
    )


def plot(folder: Path) -> str:
    """Write a figure for each model of classes beside the results; the tables.

    Raises:
        DataError: nothing was measured.
    """
    found = read(folder)
    if not found:
        raise DataError(f"{str(folder)!r} holds no results of Distilled Decoding: measure a seed first")
    for model, results in found.items():
        if SETUPS[model].texts:
            continue
        (folder / f"distilled_decoding_{model}.svg").write_text(figure(results) + "\n", encoding="utf-8")
    return "\n".join(f"{name}\n\n{one}" for name, one in tables(folder).items())


def _gap_cells(frechet: Comparison, accuracy: Comparison) -> list[str]:
    return [
        *(f"{value:.2f}" for value in (frechet.teacher, frechet.at_once, frechet.control, frechet.student)),
        *(f"{100 * share:.0f} %" for share in (frechet.closed, frechet.closed_at_once)),
        *(f"{100 * value:.1f} %" for value in (accuracy.teacher, accuracy.control, accuracy.student)),
        f"{100 * accuracy.closed:.0f} %",
    ]


def _mean(found: Sequence[Comparison]) -> Comparison:
    return Comparison(
        *(fmean(getattr(one, name) for one in found) for name in ("teacher", "at_once", "control", "student"))
    )


def _distinct(found: Sequence[dict[str, int]]) -> str:
    """Different images of the label that has the fewest, of how many."""
    least = min(found, key=lambda one: one["fewest"] / one["a_label"])
    return f"{least['fewest']} of {least['a_label']}"


def _several(values: set[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))
