"""Results of a language model as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..markdown import table

__all__ = ["losses_table", "rows_table"]

Results = Sequence[dict[str, Any]]


def losses_table(results: Results) -> str:
    """Held-out cross-entropies at the end of training, in nats per token, over the same tokens.

    Several conversions have a row each, with the relative change of their weights.

    Args:
        results: of one model and method.
    """
    rows = []
    for one in results:
        converted, control = (one["evaluations"][name][-1] for name in ("converted", "control"))
        losses = {
            **{f"masked {key.removeprefix('masked_ce_')} %": converted[key] for key in converted if "masked" in key},
            "causal, same weights": converted["causal_ce"],
            "causal, base": converted["causal_ce_base"],
            "causal, control": control["causal_ce"],
        }
        cells = {name: f"{value:.2f}" for name, value in losses.items()}
        if len(results) > 1:
            change = ", ".join(f"{layer:.3f}" for layer in one["weight_change"])
            cells = {"conversion": _name(one), **cells, "weight change by layer": change}
        rows.append(cells)
    return table(list(rows[0]), (cells.values() for cells in rows))


def rows_table(results: Results) -> str:
    """One line per decoder; a collapsed one says so beside its tokens per forward.

    Of several conversions, base and control are shown once, where they stand first. Where rows tell how many outputs are
    those of their own model's AR, that is a column too.

    Args:
        results: of one model and method.
    """
    lossless = any("equal_outputs" in row for one in results for row in one["rows"])
    columns = (
        "decoder",
        "tokens per forward",
        "speed against AR base",
        "base NLL of outputs",
        "distinct-3",
        "longest repeated span",
        "EOS rate",
        "mean length",
        *(["equal to its model's AR"] if lossless else []),
    )
    lines: list[Iterable[str]] = []
    for one in results:
        for row in one["rows"]:
            shared = row["name"] in ("AR base", "AR control")
            if shared and one is not results[0]:
                continue
            name = row["name"] if shared or len(results) == 1 else f"{_name(one)}, {row['name']}"
            equal = [f"{row['equal_outputs']}/{len(one['data']['prompts'])}"] if lossless else []
            lines.append([*_row(name, row), *equal])
    return table(columns, lines)


def _row(name: str, row: dict[str, Any]) -> list[str]:
    collapse = row["collapse"]
    return [
        name,
        f"{row['tokens_per_forward']:.2f}{' (collapsed)' if row['collapsed'] else ''}",
        f"{row['speed']:.2f}",
        f"{row['base_nll']:.2f}",
        f"{collapse['distinct_3']:.3f}",
        f"{collapse['longest_repeated_span']:.1f}",
        f"{collapse['eos_rate']:.2f}",
        f"{collapse['mean_length']:.1f}",
    ]


def _name(result: dict[str, Any]) -> str:
    return result["variant"] or "plain"
