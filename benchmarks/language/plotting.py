"""Results of a language model as tables."""

from typing import Any

__all__ = ["losses_table", "rows_table"]


def losses_table(results: dict[str, Any]) -> str:
    """Held-out cross-entropies at the end of training, in nats per token, over the same tokens."""
    converted, control = (results["evaluations"][name][-1] for name in ("converted", "control"))
    columns = {
        **{f"masked {key.removeprefix('masked_ce_')} %": converted[key] for key in converted if "masked" in key},
        "causal, same weights": converted["causal_ce"],
        "causal, base": converted["causal_ce_base"],
        "causal, control": control["causal_ce"],
    }
    lines = [_line(columns), "|---" * len(columns) + "|", _line(f"{value:.2f}" for value in columns.values())]
    return "\n".join(lines) + "\n"


def rows_table(results: dict[str, Any]) -> str:
    """One line per decoder; a collapsed one says so beside its tokens per forward.

    Where rows tell how many outputs are those of their own model's AR, that is a column too.
    """
    lossless = any("equal_outputs" in row for row in results["rows"])
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
    lines = [_line(columns), "|---" * len(columns) + "|"]
    for row in results["rows"]:
        collapse = row["collapse"]
        lines.append(
            _line(
                (
                    row["name"],
                    f"{row['tokens_per_forward']:.2f}{' (collapsed)' if row['collapsed'] else ''}",
                    f"{row['speed']:.2f}",
                    f"{row['base_nll']:.2f}",
                    f"{collapse['distinct_3']:.3f}",
                    f"{collapse['longest_repeated_span']:.1f}",
                    f"{collapse['eos_rate']:.2f}",
                    f"{collapse['mean_length']:.1f}",
                    *([f"{row['equal_outputs']}/{len(results['data']['prompts'])}"] if lossless else []),
                )
            )
        )
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
