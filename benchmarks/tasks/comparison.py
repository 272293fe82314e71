"""The conversions of one method side by side as one table, other models beside them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.markdown import table
from benchmarks.recipes import DEFAULT_METHOD

from .plotting import is_autoregressive

__all__ = ["by_conversion", "comparison_table", "mask_distance", "once_per_seed", "over_seeds", "read_comparison"]

PLAIN = "plain"
"""What a conversion without a variant is called."""
CHOSEN = 0.9
"""The published threshold, for decoders that are shown at one threshold only."""
NONE = "–"

Results = Sequence[dict[str, Any]]


def read_comparison(folder: Path, method: str) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Results of a method in a folder, and those of Fast-dLLM v2 beside it, by a name that says if another device gave them."""

    def read(pattern: str) -> list[dict[str, Any]]:
        return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(pattern))]

    results = read(f"tasks_{method}_seed*.json") + read(f"tasks_{method}-*_seed*.json")
    others = read(f"tasks_{DEFAULT_METHOD}_seed*.json") if method != DEFAULT_METHOD else []
    devices = [", ".join(sorted({one["environment"]["device"]["name"] for one in many})) for many in (results, others)]
    note = f" (on {devices[1]})" if devices[0] != devices[1] else ""
    return results, {f"{DEFAULT_METHOD}{note}": others} if others else {}


def comparison_table(results: Results, beside: Mapping[str, Results] | None = None) -> str:
    """Markdown: accuracy at tokens per forward over thresholds, how far each layer moved, and how far the masks of decoding
    stand from those of training.

    Means over seeds, ± the standard deviation where there are several. All rows are decoded with blocks of the size that was
    trained; commits are separate where nothing else is said.

    Args:
        results: of one method, all variants and seeds.
        beside: results of other methods by the names of their rows.
    """
    groups = by_conversion(results)
    thresholds = sorted(
        {row["threshold"] for result in results for row in result["rows"] if row.get("commit") == "separate"},
        reverse=True,
    )
    columns = [
        "conversion",
        "seeds",
        "no threshold",
        *(f"threshold {threshold:g}" for threshold in thresholds),
        f"{CHOSEN:g}, fused commit",
        f"{CHOSEN:g}, released decoder",
        "weight change by layer",
        "masks of decoding against training",
    ]
    lines: list[Iterable[str]] = []
    for name in dict.fromkeys(row["name"] for result in results for row in result["rows"] if is_autoregressive(row)):
        cells = [_cell(once_per_seed(results), name), *[NONE] * (len(columns) - 3)]
        lines.append((name, str(len(once_per_seed(results))), *cells))
    for name, same in {**groups, **(beside or {})}.items():
        decoders = [*_by_threshold(same, "separate", thresholds)]
        for kind in ("fused", "released"):
            decoders += _by_threshold(same, kind, [CHOSEN])
        lines.append((name, str(len(same)), NONE, *decoders, *_change_and_masks(same)))
        told = _by_threshold(same, "length given", thresholds)
        if any(cell != NONE for cell in told):
            label = f"{name}, length of the answer given"
            lines.append((label, str(len(same)), NONE, *told, *[NONE] * (len(columns) - 3 - len(told))))
        for row in same[0]["rows"]:
            if "equal" in row:
                equal, asked = (
                    sum(other[key] for result in same for other in result["rows"] if other["name"] == row["name"])
                    for key in ("equal", "problems")
                )
                label = f"{row['name']} ({equal} of {asked} outputs equal: {row['equal_to']})"
                lines.append((label, str(len(same)), _cell(same, row["name"]), *[NONE] * (len(columns) - 3)))
    return table(columns, lines)


def by_conversion(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Results of one method by variant, the plain conversion first."""
    names = sorted({result.get("variant") or "" for result in results})
    return {name or PLAIN: [one for one in results if (one.get("variant") or "") == name] for name in names}


def once_per_seed(results: Results) -> list[dict[str, Any]]:
    """The first result of each seed: variants of one seed measured the same base and control."""
    return list({result["seed"]: result for result in reversed(results)}.values())[::-1]


def over_seeds(results: Results, name: str, key: str) -> list[float]:
    """A figure of the row of that name in every result that has one."""
    return [row[key] for result in results for row in result["rows"] if row["name"] == name]


def mask_distance(decoding: Sequence[float], training: Sequence[float]) -> float:
    """Mean absolute difference of two curves over positions, each divided by its mean."""
    first, second = fmean(decoding), fmean(training)
    return fmean(abs(a / first - b / second) for a, b in zip(decoding, training, strict=True))


def _by_threshold(same: Results, kind: str, thresholds: Sequence[float]) -> list[str]:
    size = same[0]["trained_block_size"]
    return [_cell(same, f"D={size} {kind} threshold {threshold:g}") for threshold in thresholds]


def _change_and_masks(same: Results) -> tuple[str, str]:
    changes = [result["weight_change"] for result in same if "weight_change" in result]
    distances = [
        mask_distance(result["masked_decoding"], result["masked_training"])
        for result in same
        if "masked_decoding" in result
    ]
    layers = ", ".join(_spread(layer, "{:.3f}") for layer in zip(*changes))
    return (
        layers + _fewer(changes, same) or NONE,
        _spread(distances, "{:.3f}") + _fewer(distances, same) if distances else NONE,
    )


def _cell(same: Results, name: str) -> str:
    accuracies = [100 * value for value in over_seeds(same, name, "accuracy")]
    if not accuracies:
        return NONE
    tokens = _spread(over_seeds(same, name, "tokens_per_forward"), "{:.2f}")
    return f"{_spread(accuracies, '{:.1f}')} % at {tokens}{_fewer(accuracies, same)}"


def _spread(values: Sequence[float], form: str) -> str:
    mean = form.format(fmean(values))
    return f"{mean} ± {form.format(stdev(values))}" if len(values) > 1 else mean


def _fewer(values: Sequence[Any], same: Results) -> str:
    """Of how many seeds a figure is, where some lack it."""
    return f" ({len(values)} of {len(same)} seeds)" if 0 < len(values) < len(same) else ""
