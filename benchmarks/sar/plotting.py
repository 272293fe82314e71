"""Results of all seeds as tables and figures."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart
from ar_vision.sar.exposure_bias import BIAS, FREE, SELF, TRUTH

from ..images.plotting import ACCURACY, FRECHET
from ..images.study import BASE
from ..markdown import table
from .steps import PLAIN

__all__ = ["plot", "read", "tables"]

Results = Mapping[str, Any]

NAMES = {
    BASE: "start",
    "control": "plain training (sigma = 0)",
    "full": "SAR",
    "full_sigma_0.5": "SAR, sigma = 0.5",
    "released": "SAR, released variant",
    "gt": "true targets, sigma = 0.5",
    "soft": "soft targets, sigma = 0.5",
}


def read(folder: Path) -> list[Results]:
    """Results in the order of the seeds."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("sar_cifar10_seed*.json")]
    return sorted(found, key=lambda one: one["seed"])


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    seeds = read(folder)
    if not seeds:
        return {}
    found = {"sar_cifar10": arms_table(seeds), "sar_cifar10_scales": scales_table(seeds)}
    if _rows(seeds[0], "samples"):
        found["sar_cifar10_guidance"] = sweep_table(seeds)
    if _rows(seeds[0], "steps"):
        found["sar_cifar10_steps"] = steps_table(seeds)
    return found


def arms_table(seeds: Sequence[Results]) -> str:
    """One line an arm: mean and standard deviation over the seeds."""
    header = [
        "model",
        "seeds",
        "steps",
        "held-out NLL, nats a code",
        "exposure bias",
        "Fréchet (ResNet-20) without guidance",
        "with the best",
        "less the control's, without",
        "with the best",
        "g",
        "class accuracy without guidance",
        "with the best",
    ]
    lines: list[Iterable[str]] = []
    for arm in _arms(seeds):
        having = [one for one in seeds if _likelihood(one, arm)]
        steps = max((_likelihood(one, arm).get("steps", 0) for one in having), default=0)
        cells = [NAMES.get(arm, arm), str(len(having)), str(steps or "")]
        cells += [_spread([_likelihood(one, arm)["values"]["next_scale"] for one in having], 4)]
        cells += [_spread([_likelihood(one, arm)["values"][BIAS] for one in having], 4)]
        drawn = [one for one in having if _sweep(one, arm)]
        if not drawn:
            lines.append([*cells, *[""] * 7])
            continue
        controlled = [one for one in drawn if arm != "control" and _sweep(one, "control")]
        for pick in (_free, _best):
            cells.append(_spread([pick(one, arm)["values"][FRECHET] for one in drawn], 2))
        for pick in (_free, _best):
            apart = [pick(one, arm)["values"][FRECHET] - pick(one, "control")["values"][FRECHET] for one in controlled]
            cells.append(_spread(apart, 2, signed=True))
        cells.append(", ".join(f"{_best(one, arm)['guidance']:g}" for one in drawn))
        for pick in (_free, _best):
            cells.append(_spread([100 * pick(one, arm)["values"][ACCURACY] for one in drawn], 1))
        lines.append(cells)
    return table(header, lines)


def sweep_table(seeds: Sequence[Results]) -> str:
    """One line a guidance scale, Fréchet distances of every arm: mean and standard deviation over the seeds."""
    arms = _arms(seeds)
    lines: list[Iterable[str]] = []
    for scale in _scales(seeds):
        cells = [[row["values"][FRECHET] for row in _at(seeds, arm, scale)] for arm in arms]
        lines.append([f"{scale:g}", *(_spread(values, 2) for values in cells)])
    return table(["g", *(NAMES.get(arm, arm) for arm in arms)], lines)


def scales_table(seeds: Sequence[Results]) -> str:
    """One line a grid: cross-entropy of the true codes by the inputs of the scale, and the difference, of every arm; means, and
    the standard deviation of the difference.
    """
    arms = _arms(seeds)
    header = ["grid"]
    for arm in arms:
        header += [
            f"{NAMES.get(arm, arm)}: true inputs",
            "its own for the scale before",
            "its own for all",
            "exposure bias",
        ]
    lines: list[Iterable[str]] = []
    for grid in _grids(seeds):
        cells = [grid]
        for arm in arms:
            rows = [row["values"] for one in seeds if (row := _likelihood(one, arm))]
            for kind in (TRUTH, SELF, FREE):
                cells.append(_mean([row[f"{kind}_{grid}"] for row in rows if f"{kind}_{grid}" in row], 4))
            cells.append(_spread([row[f"{BIAS}_{grid}"] for row in rows if f"{BIAS}_{grid}" in row], 4))
        lines.append(cells)
    return table(header, lines)


def steps_table(seeds: Sequence[Results]) -> str:
    """One line a way of training: minima of interleaved rounds and peak memory, in units of plain training."""
    lines: list[Iterable[str]] = []
    rows = [row for one in seeds for row in _rows(one, "steps")]
    for device in dict.fromkeys(row["device"] for row in rows):
        same = [row for row in rows if row["device"] == device]
        for way in same[0]["seconds"]:
            seconds = [min(row["seconds"][way]) for row in same]
            times = [min(row["seconds"][way]) / min(row["seconds"][PLAIN]) for row in same]
            memory = [row["peak_bytes"][way] / row["peak_bytes"][PLAIN] for row in same]
            size = f"{same[0]['batch']} x {same[0]['tokens']}"
            lines.append([device, way, size, _mean(seconds, 3), _spread(times, 2), _spread(memory, 2)])
    header = ["device", "way", "images x codes", "seconds a step", "times plain training", "times its peak memory"]
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write the guidance sweep and the exposure bias as figures beside the results: means over the seeds."""
    seeds = read(folder)
    arms = _arms(seeds)

    def series(points: Callable[[str], list[tuple[float, float]]]) -> list[Series]:
        every = [(arm, points(arm)) for arm in arms]
        return [Series(NAMES.get(arm, arm), line, dashed=arm == BASE) for arm, line in every if line]

    def swept(arm: str) -> list[tuple[float, float]]:
        at = [(scale, _at(seeds, arm, scale)) for scale in _scales(seeds)]
        return [(scale, fmean(row["values"][FRECHET] for row in rows)) for scale, rows in at if rows]

    def biased(arm: str) -> list[tuple[float, float]]:
        rows = [row["values"] for one in seeds if (row := _likelihood(one, arm))]
        names = [(float(grid.partition("x")[0]), f"{BIAS}_{grid}") for grid in _grids(seeds)]
        return [(side, fmean(row[name] for row in rows)) for side, name in names if rows and name in rows[0]]

    figures = {
        "sar_guidance.svg": (series(swept), "guidance g", "Fréchet distance on ResNet-20 features"),
        "sar_exposure.svg": (series(biased), "side of the grid", "exposure bias, nats a code"),
    }
    for name, (lines, x_label, y_label) in figures.items():
        if lines:
            (folder / name).write_text(line_chart(lines, x_label=x_label, y_label=y_label) + "\n", encoding="utf-8")


def _rows(one: Results, what: str) -> list[Any]:
    return [row for row in one["rows"] if row["what"] == what]


def _arms(seeds: Sequence[Results]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for one in seeds for row in _rows(one, "likelihood")))


def _scales(seeds: Sequence[Results]) -> list[float]:
    return sorted({row["guidance"] for one in seeds for row in _rows(one, "samples")})


def _grids(seeds: Sequence[Results]) -> list[str]:
    names = {name for one in seeds for row in _rows(one, "likelihood") for name in row["values"]}
    grids = [name.removeprefix(f"{TRUTH}_") for name in names if name.startswith(f"{TRUTH}_")]
    return sorted(grids, key=lambda grid: int(grid.partition("x")[0]))


def _likelihood(one: Results, arm: str) -> Any:
    return next((row for row in _rows(one, "likelihood") if row["arm"] == arm), {})


def _sweep(one: Results, arm: str) -> list[Any]:
    return [row for row in _rows(one, "samples") if row["arm"] == arm]


def _at(seeds: Sequence[Results], arm: str, scale: float) -> list[Any]:
    return [row for one in seeds for row in _sweep(one, arm) if row["guidance"] == scale]


def _free(one: Results, arm: str) -> Any:
    """The smallest guidance, 1 in a whole sweep."""
    return min(_sweep(one, arm), key=lambda row: row["guidance"])


def _best(one: Results, arm: str) -> Any:
    return min(_sweep(one, arm), key=lambda row: row["values"][FRECHET])


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f}" if values else ""


def _spread(values: Sequence[float], digits: int, *, signed: bool = False) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):{'+' if signed else ''}.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean
