"""Results of all seeds as tables and figures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..images.plotting import ACCURACY, FRECHET, RECONSTRUCTION
from ..markdown import table
from .arms import ARMS
from .changes import changes_table
from .results import NAMES, Results, read, rows_of

__all__ = ["plot", "tables"]

COLUMNS = (
    ("PSNR, dB", "psnr", 2),
    ("SSIM", "ssim", 4),
    ("LPIPS (AlexNet)", "lpips[alexnet]", 4),
    ("Fréchet of reconstructions (ResNet-20)", RECONSTRUCTION, 3),
)
BOOKS = (
    ("codes used", "codes_used_{}", 3),
    ("perplexity", "perplexity_{}", 1),
    ("Gini of uses", "uses_gini_{}", 3),
    ("density CV", "density_cv_{}", 3),
    ("entropy of densities", "entropy_{}", 4),
    ("Gini of densities", "gini_{}", 3),
    ("log mean density", "log_density_{}", 3),
    ("KL(teacher, codebook)", "histogram_divergence_{}", 4),
)


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    seeds = read(folder)
    if not seeds:
        return {}
    return {
        "glotok_cifar10_changes": changes_table(seeds),
        "glotok_cifar10": reconstruction_table(seeds),
        "glotok_cifar10_codebooks": codebooks_table(seeds),
        "glotok_cifar10_far": samples_table(seeds),
    }


def reconstruction_table(seeds: Sequence[Results]) -> str:
    """One line an arm: mean and standard deviation over the seeds."""
    lines = []
    for arm in ARMS:
        rows = rows_of(seeds, "tokenizer", arm)
        if rows:
            cells = [_spread([row["values"][key] for row in rows], digits) for _, key, digits in COLUMNS]
            steps = str(max(row["training"]["steps"] for row in rows))
            lines.append([NAMES[arm], str(len(rows)), steps, f"{rows[0]['parameters'] / 1e6:.2f}", *cells])
    return table(["arm", "seeds", "steps", "million parameters", *(title for title, _, _ in COLUMNS)], lines)


def codebooks_table(seeds: Sequence[Results]) -> str:
    """One line an arm and codebook."""
    lines: list[Iterable[str]] = []
    for book in ("semantic", "visual"):
        for arm in ARMS:
            rows = rows_of(seeds, "tokenizer", arm)
            if rows:
                cells = [_spread([row["values"][key.format(book)] for row in rows], digits) for _, key, digits in BOOKS]
                lines.append([book, NAMES[arm], *cells])
    return table(["codebook", "arm", *(title for title, _, _ in BOOKS)], lines)


def samples_table(seeds: Sequence[Results]) -> str:
    """One line an arm and guidance scale; the held-out NLL, of the run's last evaluation, is of each arm's own codes."""
    lines: list[Iterable[str]] = []
    for arm in ARMS:
        rows = rows_of(seeds, "samples", arm)
        for scale in sorted({row["guidance"] for row in rows}):
            same = [row for row in rows if row["guidance"] == scale]
            likelihood = [_last_nll(row["training"]) for row in same]
            lines.append(
                [
                    NAMES[arm],
                    str(len(same)),
                    str(max(row["training"]["steps"] for row in same)),
                    f"{scale:g}",
                    _spread([value for value in likelihood if not math.isnan(value)], 3),
                    _spread([row["values"][FRECHET] for row in same], 2),
                    _spread([100 * row["values"][ACCURACY] for row in same], 1),
                ]
            )
    header = [
        "arm",
        "seeds",
        "steps",
        "g",
        "held-out NLL, nats of its own codes",
        "Fréchet of samples (ResNet-20)",
        "class accuracy, %",
    ]
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write the histograms of the semantic codebooks, and Fréchet distance over guidance, beside the results: means over the seeds."""
    seeds = read(folder)
    if not seeds:
        return
    lines = [Series("teacher", _curve([_shares(one["teacher"]["log_profile"]) for one in seeds]), dashed=True)]
    swept = []
    for arm in ARMS:
        rows = rows_of(seeds, "tokenizer", arm)
        if rows:
            lines.append(Series(NAMES[arm], _curve([row["profiles"]["semantic"] for row in rows])))
        drawn = rows_of(seeds, "samples", arm)
        scales = sorted({row["guidance"] for row in drawn})
        points = [
            (scale, fmean(row["values"][FRECHET] for row in drawn if row["guidance"] == scale)) for scale in scales
        ]
        if points:
            swept.append(Series(NAMES[arm], points))
    figures = {
        "glotok_histograms.svg": (lines, "cosine of two codes", "share of the pairs"),
        "glotok_guidance.svg": (swept, "guidance g", "Fréchet distance on ResNet-20 features"),
    }
    for name, (series, x_label, y_label) in figures.items():
        if series:
            (folder / name).write_text(line_chart(series, x_label=x_label, y_label=y_label) + "\n", encoding="utf-8")


def _last_nll(record: Mapping[str, Any]) -> float:
    found = [entry["evaluation"].get("held_out_nll") for entry in record["evaluations"]]
    return float(found[-1]) if found and found[-1] is not None else math.nan


def _shares(logarithms: Sequence[float]) -> list[float]:
    return [math.exp(value) for value in logarithms]


def _curve(profiles: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Means over profiles, at the centres of their bins."""
    count = len(profiles[0])
    return [(-1 + 2 * k / (count - 1), fmean(one[k] for one in profiles)) for k in range(count)]


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean
