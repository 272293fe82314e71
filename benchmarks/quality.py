"""Quality against tokens per forward: all methods on one task in one figure.

python -m benchmarks.quality benchmarks/results/eval_*_gsm8k_*.json --output benchmarks/results/quality_gsm8k

Reads results of ``ar-decode eval`` and of ``benchmarks.tasks``; writes OUTPUT.svg and OUTPUT.md.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ar_core.errors import DataError
from ar_core.evaluation import accuracy_under_parallelism
from ar_quickstart.chart import Series, line_chart

from .command_line import command_line, exit_code

__all__ = ["Curve", "curves", "figure", "markdown_table", "read"]


@dataclass(frozen=True)
class Curve:
    """One method with one family of settings.

    Attributes:
        name: for the legend.
        points: (tokens per forward, accuracy), by increasing tokens per forward.
        autoregressive: one token per pass: drawn as a line to compare with.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    autoregressive: bool


def read(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Read results.

    Raises:
        DataError: a file is missing, is no JSON, or holds no accuracies; files of different tasks or data.
    """
    found, tasks = [], {}
    for file in files:
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            task = _task(results)
            rows = [row for row in results["rows"] if row.get("accuracy") is not None]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{str(file)!r} is no result of `ar-decode eval` or benchmarks.tasks ({type(error).__name__}); give one of those."
            ) from error
        if not rows:
            raise DataError(f"{str(file)!r} has no accuracies; give the result of a task with right and wrong answers.")
        tasks[task] = file
        if len(tasks) > 1:
            (one, first), (two, second) = list(tasks.items())[:2]
            raise DataError(
                f"{str(first)!r} is on {one[0]} and {str(second)!r} on {two[0]}, or on other problems of it; a figure shows one task."
            )
        found.append(results)
    return found


def curves(results: Sequence[dict[str, Any]]) -> list[Curve]:
    """Curves of all files; rows of one name (seeds, the baseline of several files) are averaged.

    A method that drafts with another model has two: over the verifier's passes, and over those of both models.
    """
    families: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for result in results:
        for row in result["rows"]:
            if row.get("accuracy") is not None:
                for family, tokens_per_forward in _counts(result, row):
                    points = families.setdefault(family, {}).setdefault(row["name"], [])
                    points.append((tokens_per_forward, row["accuracy"]))
    found = []
    for name, family in families.items():
        points = sorted((fmean(x for x, _ in same), fmean(y for _, y in same)) for same in family.values())
        found.append(Curve(name, tuple(points), name.lower().split()[0] == "ar"))
    return sorted(found, key=lambda curve: (not curve.autoregressive, curve.name))


def figure(found: Sequence[Curve]) -> str:
    """SVG: one line per method; autoregressive ones dashed across the figure."""
    widest = max(x for curve in found for x, _ in curve.points)
    series = [
        Series(curve.name, [(1.0, curve.points[0][1]), (widest, curve.points[0][1])], dashed=True)
        if curve.autoregressive
        else Series(curve.name, list(curve.points))
        for curve in found
    ]
    return line_chart(
        series,
        x_label="generated tokens per forward pass, prefill and commits included",
        y_label="accuracy",
        percent=True,
    )


def markdown_table(found: Sequence[Curve]) -> str:
    """AUP of each curve, with the best accuracy of all of them, beside its ends."""
    best = max(y for curve in found for _, y in curve.points) or None
    lines = ["| method | AUP | slowest: TPF, accuracy | fastest: TPF, accuracy |", "|---|---|---|---|"]
    for curve in found:
        ends = [f"{x:.2f}, {100 * y:.1f} %" for x, y in (curve.points[0], curve.points[-1])]
        lines.append(
            f"| {curve.name} | {accuracy_under_parallelism(curve.points, best=best):.1f} | {' | '.join(ends)} |"
        )
    return "\n".join(lines) + "\n"


def _task(results: dict[str, Any]) -> tuple[str, str]:
    if results.get("kind") == "eval":
        return results["task"], results["data"]["sha256"]
    return results["data"]["task"], json.dumps(results["data"], sort_keys=True)


def _family(results: dict[str, Any], row: dict[str, Any]) -> str:
    """What a point's neighbours share with it: all but the threshold."""
    if results.get("kind") == "eval":
        return str(row["method"]["name"]) if row["name"] != "ar of MODEL" else row["name"]
    name = str(row["name"]).partition(" threshold")[0]
    return f"{results['method']} {name}" if "threshold" in row else name


def _counts(results: dict[str, Any], row: dict[str, Any]) -> list[tuple[str, float]]:
    """Families of a point, with its tokens per forward as each counts them."""
    family, tokens_per_forward = _family(results, row), float(row["tokens_per_forward"])
    if not any(_drafted(other) for other in results["rows"] if _family(results, other) == family):
        return [(family, tokens_per_forward)]
    both = tokens_per_forward * row["nfe"] / (row["nfe"] + _drafted(row))
    return [(f"{family}, verifier's passes", tokens_per_forward), (f"{family}, drafter's too", both)]


def _drafted(row: dict[str, Any]) -> int:
    """Passes of a model of its own that drafts."""
    return row.get("drafts", {}).get("drafter", {}).get("forwards", 0)


def main() -> int:
    """Read, draw, write; the exit code."""
    parser = command_line("benchmarks.quality", __doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="without suffix")
    return exit_code(_draw, parser.parse_args())


def _draw(arguments: argparse.Namespace) -> int:
    found = curves(read(arguments.files))
    arguments.output.with_suffix(".svg").write_text(figure(found) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(markdown_table(found), encoding="utf-8")
    print(markdown_table(found), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
