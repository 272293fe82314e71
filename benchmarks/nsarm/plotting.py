"""Results of all seeds as tables and a figure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

from ..bars import Bars, bar_chart
from ..markdown import table
from .arms import ARMS
from .methods import CEILING, NAMES

__all__ = ["plot", "read", "tables"]

Results = Mapping[str, Any]

PSNR, SSIM, LPIPS = "psnr", "ssim", "lpips[alexnet]"
CHARTED = ("bicubic", "tokenizer", "map", "map_longer", "joint")
"""Methods of the figure; the others are in the tables."""


def read(folder: Path) -> list[Results]:
    """Results in the order of the seeds."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("nsarm_photographs_seed*.json")]
    return sorted(found, key=lambda one: one["seed"])


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    seeds = read(folder)
    if not seeds:
        return {}
    found = {"nsarm_training": training_table(seeds)}
    if any(_rows(one, "sweep") for one in seeds):
        found |= {
            "nsarm_photographs": methods_table(seeds),
            "nsarm_degradations_lpips": degradations_table(seeds, LPIPS, 3),
            "nsarm_degradations_psnr": degradations_table(seeds, PSNR, 2),
        }
    if any(_rows(one, "large") for one in seeds):
        found["nsarm_large"] = large_table(seeds)
    return found


def training_table(seeds: Sequence[Results]) -> str:
    """One line a stage: steps, minutes, and the last held-out numbers."""
    lines: list[Iterable[str]] = []
    for arm in ARMS:
        rows = [row for one in seeds for row in _rows(one, "training") if row["arm"] == arm]
        if not rows:
            continue
        last = [row["evaluations"][-1]["evaluation"] for row in rows if row["evaluations"]]
        base = ARMS[arm].base
        before = [row["steps"] for one in seeds for row in _rows(one, "training") if row["arm"] == base]
        # Minutes have other work on the machine in them.
        cells = [NAMES[arm], str(len(rows)), " + ".join(map(str, [*before[:1], rows[0]["steps"]]))]
        cells.append(f"{min(row['minutes'] for row in rows):.1f}")
        for name in ("held_out_residuals", "held_out_prefix_accuracy", "held_out_bits", "held_out_bit_accuracy"):
            cells.append(_spread([one[name] for one in last if name in one], 4))
        lines.append(cells)
    header = [
        "stage",
        "seeds",
        "steps",
        "minutes of the last, in the fastest run",
        "squared error of M at the end",
        "M's bits right",
        "nats a bit of the transformer",
        "its bits right",
    ]
    return table(header, lines)


def methods_table(seeds: Sequence[Results]) -> str:
    """One line a method: means over all photographs and degradations, and both variances of LPIPS; spread over the seeds."""
    header = [
        "method",
        "PSNR, dB",
        "SSIM",
        "LPIPS (AlexNet)",
        "variance of LPIPS over photographs",
        "over degradations",
    ]
    lines: list[Iterable[str]] = []
    for method in _methods(seeds):
        every = _all_swept(seeds, method)
        cells = [NAMES.get(method, method)]
        cells += [
            _spread([fmean(fmean(v) for v in by[metric].values()) for by in every], digits)
            for metric, digits in ((PSNR, 2), (SSIM, 4), (LPIPS, 4))
        ]
        cells.append(_spread([fmean(_variance(v) for v in by[LPIPS].values()) for by in every], 5))
        cells.append(_spread([_variance([fmean(v) for v in by[LPIPS].values()]) for by in every], 5))
        lines.append(cells)
    if _ceiling(seeds, LPIPS):
        cells = [_spread(_ceiling(seeds, metric)[:1], digits) for metric, digits in ((PSNR, 2), (SSIM, 4), (LPIPS, 4))]
        spread = [_variance(row["values"][CEILING][LPIPS]) for one in seeds for row in _rows(one, "ceiling")]
        lines.append([NAMES[CEILING], *cells, _spread(spread[:1], 5), ""])
    return table(header, lines)


def degradations_table(seeds: Sequence[Results], metric: str, digits: int) -> str:
    """One line a method: the mean of a metric under every degradation; spread over the seeds."""
    names = _degradations(seeds)
    lines: list[Iterable[str]] = []
    for method in _methods(seeds):
        every = _all_swept(seeds, method)
        cells = [_spread([fmean(by[metric][name]) for by in every], digits) for name in names]
        lines.append([NAMES.get(method, method), *cells])
    if top := _ceiling(seeds, metric):
        lines.append([NAMES[CEILING], *[_spread(top[:1], digits)] * len(names)])
    return table(["method", *names], lines)


def large_table(seeds: Sequence[Results]) -> str:
    """One line a picture and overlap of tiles."""
    header = [
        "photograph",
        "input",
        "overlap",
        "tiles",
        "seconds",
        "peak memory of the process, MiB",
        "step across edges of tiles, times elsewhere",
        "of bicubic",
        "step where tiles are blended, times elsewhere",
        "of bicubic",
    ]
    lines: list[Iterable[str]] = []
    every = [row for one in seeds for row in _rows(one, "large")]
    for name in dict.fromkeys(row["name"] for row in every):
        same = [row for row in every if row["name"] == name]
        row = same[0]
        cells = [str(row["photograph"] + 1), " x ".join(map(str, row["size"])), str(row["overlap"]), str(row["tiles"])]
        cells += [
            _spread([other[key] for other in same], digits)
            for key, digits in (("seconds", 1), ("peak_mebibytes", 0), ("seam_ratio", 3))
        ]
        for key in ("seam_ratio_bicubic", "blend_ratio", "blend_ratio_bicubic"):
            cells.append(_spread([other[key] for other in same], 3))
        lines.append(cells)
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write LPIPS of the main methods under every degradation as a figure beside the results: a dot a seed."""
    seeds = read(folder)
    names = _degradations(seeds)
    bars = [
        Bars(
            NAMES.get(method, method), [[fmean(by[LPIPS][name]) for by in _all_swept(seeds, method)] for name in names]
        )
        for method in _methods(seeds)
        if method in CHARTED
    ]
    if bars and names:
        chart = bar_chart(names, bars, x_label="LPIPS (AlexNet); smaller is nearer to the original")
        (folder / "nsarm_degradations.svg").write_text(chart + "\n", encoding="utf-8")


def _rows(one: Results, what: str) -> list[Any]:
    return [row for row in one["rows"] if row["what"] == what]


def _methods(seeds: Sequence[Results]) -> list[str]:
    found = dict.fromkeys(method for one in seeds for row in _rows(one, "sweep") for method in row["values"])
    return [method for method in found if _all_swept(seeds, method)]


def _degradations(seeds: Sequence[Results]) -> list[str]:
    return list(dict.fromkeys(row["degradation"] for one in seeds for row in _rows(one, "sweep")))


def _swept(one: Results, method: str) -> dict[str, dict[str, list[float]]]:
    """Values of each photograph by metric and degradation."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in _rows(one, "sweep"):
        for metric, values in row["values"].get(method, {}).items():
            found.setdefault(metric, {})[row["degradation"]] = values
    return found


def _all_swept(seeds: Sequence[Results], method: str) -> list[dict[str, dict[str, list[float]]]]:
    """The same of every seed in which the method went through all degradations."""
    names = set(_degradations(seeds))
    return [found for one in seeds if (found := _swept(one, method)) and found[LPIPS].keys() == names]


def _ceiling(seeds: Sequence[Results], metric: str) -> list[float]:
    """The mean over the photographs, of each seed; no seed decides it."""
    return [fmean(row["values"][CEILING][metric]) for one in seeds for row in _rows(one, "ceiling")]


def _variance(values: Sequence[float]) -> float:
    return variance(values) if len(values) > 1 else 0.0


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):.{digits}f}"
    # What no seed decides, such as bicubic, has no spread.
    return f"{mean} ± {stdev(values):.{digits}f}" if len(set(values)) > 1 else mean
