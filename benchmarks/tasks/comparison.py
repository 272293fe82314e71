"""The conversions of one method side by side, one row each."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

__all__ = ["comparison_table"]

CHOSEN = "D={size} separate threshold 0.9"
"""The decoder that stands for a conversion: the trained block size and the published threshold."""


def comparison_table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown, means over seeds: accuracy and tokens per forward, how far each layer moved, and how far the masks of decoding
    stand from those of training (mean absolute difference over the positions of a block, both scaled to the same mean)."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        variants.setdefault(result.get("variant") or "as configured", []).append(result)
    lines = [
        "| conversion | seeds | exact answers | tokens per forward | weight change by layer | masks of decoding against training |",
        "|---|---|---|---|---|---|",
    ]
    for name, same in variants.items():
        rows = [_chosen(result) for result in same]
        change = [fmean(layer) for layer in zip(*(result["weight_change"] for result in same))]
        distance = fmean(mask_distance(result["masked_decoding"], result["masked_training"]) for result in same)
        lines.append(
            f"| {name} | {len(same)} | {100 * fmean(row['accuracy'] for row in rows):.1f} % | "
            f"{fmean(row['tokens_per_forward'] for row in rows):.2f} | {', '.join(f'{value:.3f}' for value in change)} | "
            f"{distance:.3f} |"
        )
    return "\n".join(lines) + "\n"


def mask_distance(decoding: Sequence[float], training: Sequence[float]) -> float:
    """Mean absolute difference of two curves over positions, each divided by its mean."""
    first, second = fmean(decoding), fmean(training)
    return fmean(abs(a / first - b / second) for a, b in zip(decoding, training, strict=True))


def _chosen(result: dict[str, Any]) -> dict[str, Any]:
    name = CHOSEN.format(size=result["trained_block_size"])
    return next(row for row in result["rows"] if row["name"] == name)
