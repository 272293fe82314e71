"""Results of all seeds as tables and figures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..bars import Bars, bar_chart
from ..images.plotting import ACCURACY, FRECHET
from ..images.study import BASE
from ..markdown import table

__all__ = ["plot", "read", "tables"]

Results = Mapping[str, Any]

RECONSTRUCTED = "reconstructed"
NAMES = {
    BASE: "base, no control",
    RECONSTRUCTED: "test pictures through the tokenizer",
    "ecm": "ECM",
    "lora": "LoRA, equal size",
    "lora_lr_1e-3": "LoRA, lr 1e-3",
    "full": "full fine-tuning, lr 1e-3",
    "no_context": "ECM, control tokens alone (u = c)",
    "separate_ffn": "ECM, a feed-forward layer each",
    "all_scales_equal_tokens": "ECM, all scales, equal codes",
    "all_scales": "ECM, all scales, equal steps",
    "full_lr_3e-4": "full fine-tuning, lr 3e-4",
    "lora_all_scales": "LoRA, all scales",
    "full_all_scales": "full fine-tuning, all scales",
    "fixed": "ECM, fixed normalisation",
    "geometric": "ECM, geometric prefixes",
    "car": "CAR",
}


def read(folder: Path) -> list[Results]:
    """Results in the order of the seeds."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("ecm_cifar10_seed*.json")]
    return sorted(found, key=lambda one: one["seed"])


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    seeds = read(folder)
    if not seeds:
        return {}
    found = {"ecm_cifar10": arms_table(seeds), "ecm_cifar10_scales": scales_table(seeds)}
    if any(_rows(one, "steps") for one in seeds):
        found["ecm_cifar10_steps"] = steps_table(seeds)
    return found


def arms_table(seeds: Sequence[Results]) -> str:
    """One line an arm and late temperature: mean and standard deviation over the seeds."""
    header = [
        "model",
        "trained parameters",
        "% of the base",
        "seeds",
        "steps",
        "held-out NLL, nats a code",
        "late temperature",
        "canny F1",
        "RMSE",
        "SSIM of the edges",
        "Fréchet (ResNet-20)",
        "class accuracy, %",
    ]
    lines: list[Iterable[str]] = []
    for arm, late in _drawn(seeds):
        rows = [(one, row) for one in seeds for row in _rows(one, "samples") if _key(row) == (arm, late)]
        liked = [row for one, _ in rows for row in _rows(one, "likelihood") if row["arm"] == arm]
        trained = liked[0]["trained_parameters"] if liked else 0
        cells = [NAMES.get(arm, arm), f"{trained:,}" if trained else "", ""]
        if trained:
            cells[-1] = f"{100 * trained / rows[0][0]['base_parameters']:.1f}"
        cells += [str(len(rows)), str(max((row.get("steps", 0) for row in liked), default=0) or "")]
        cells += [_spread([row["values"]["held_out_nll"] for row in liked], 4), "" if late is None else f"{late:g}"]
        for name, digits, factor in (("f1", 4, 1), ("rmse", 1, 1), ("ssim", 4, 1), (FRECHET, 2, 1), (ACCURACY, 1, 100)):
            cells.append(_spread([factor * row["values"][name] for _, row in rows if name in row["values"]], digits))
        lines.append(cells)
    return table(header, lines)


def scales_table(seeds: Sequence[Results]) -> str:
    """One line an arm: share of right codes of each grid on held-out pictures, in percent."""
    grids = _grids(seeds)
    lines = []
    for arm in dict.fromkeys(row["arm"] for one in seeds for row in _rows(one, "likelihood")):
        rows = [row["values"] for one in seeds for row in _rows(one, "likelihood") if row["arm"] == arm]
        lines.append(
            [NAMES.get(arm, arm), *(_spread([100 * row[f"accuracy_{grid}"] for row in rows], 2) for grid in grids)]
        )
    return table(["model", *(f"right codes of {grid}, %" for grid in grids)], lines)


def steps_table(seeds: Sequence[Results]) -> str:
    """One line an arm: minima of interleaved rounds over all scales, peak memory, and codes of a step on average."""
    rows = [row for one in seeds for row in _rows(one, "steps")]
    first = rows[0]
    lines: list[Iterable[str]] = []
    for arm in first["seconds"]:
        same = [row for row in rows if arm in row["seconds"]]
        times = [min(row["seconds"][arm]) / min(row["seconds"]["full"]) for row in same if "full" in row["seconds"]]
        memory = [row["peak_bytes"][arm] / 2**20 for row in same]
        seconds = [min(row["seconds"][arm]) for row in same]
        cells = [NAMES.get(arm, arm), _spread(seconds, 3), _spread(times, 2), _spread(memory, 0)]
        lines.append([*cells, f"{first['tokens'][arm]:.1f}"])
    header = [
        "arm",
        f"seconds a step over all scales, {first['batch']} images",
        "times full fine-tuning",
        "peak MiB",
        "codes of an image in a step",
    ]
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write F1 of every arm as bars, one for each late temperature, beside the results."""
    seeds = read(folder)
    drawn = _drawn(seeds)
    arms = list(dict.fromkeys(arm for arm, _ in drawn))
    late = sorted({one for _, one in drawn if one is not None})
    bars = [
        Bars(
            f"late temperature {one:g}",
            [
                [
                    row["values"]["f1"]
                    for seed in seeds
                    for row in _rows(seed, "samples")
                    if _key(row) in ((arm, one), (arm, None))
                ]
                for arm in arms
            ],
        )
        for one in late
    ]
    if bars:
        svg = bar_chart([NAMES.get(arm, arm) for arm in arms], bars, x_label="F1 of canny edges")
        (folder / "ecm_fidelity.svg").write_text(svg + "\n", encoding="utf-8")


def _rows(one: Results, what: str) -> list[Any]:
    return [row for row in one["rows"] if row["what"] == what]


def _key(row: Mapping[str, Any]) -> tuple[str, float | None]:
    return row["arm"], row.get("late_temperature")


def _drawn(seeds: Sequence[Results]) -> list[tuple[str, float | None]]:
    found = dict.fromkeys(_key(row) for one in seeds for row in _rows(one, "samples"))
    order = list(dict.fromkeys(arm for arm, _ in found))
    return sorted(found, key=lambda key: (order.index(key[0]), key[1] or 0))


def _grids(seeds: Sequence[Results]) -> list[str]:
    names = {name for one in seeds for row in _rows(one, "likelihood") for name in row["values"]}
    grids = [name.removeprefix("accuracy_") for name in names if name.startswith("accuracy_")]
    return sorted(grids, key=lambda grid: int(grid.partition("x")[0]))


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean
