"""Results of decode speed in a line each, and as tables."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["markdown_table", "told"]

Row = Mapping[str, Any]


def told(row: Row) -> str:
    """The ratios of a row that has times."""
    if row["kind"] == "pass":
        return f"{row['one_token_passes']:.2f} one-token passes, {row['of_huggingface']:.2f} of Hugging Face's time"
    parts = [f"{row['tokens_per_second']:.0f} tokens/s at {row['tokens_per_forward']:.2f} tokens per forward"]
    if "speedup" in row:
        parts.append(f"{row['speedup']:.2f} x AR, conversion {_percent(row['conversion'])}")
    if "of_bandwidth" in row:
        parts.append(f"{_percent(row['of_bandwidth'])} of the bandwidth")
    return ", ".join(parts)


def markdown_table(results: Mapping[str, Any]) -> str:
    """One line a row; passes and methods apart."""
    tables = []
    for kind, (columns, cells) in TABLES.items():
        rows = [row for row in results["rows"] if row["kind"] == kind]
        if rows:
            tables.append(_table(columns, cells, rows))
    return "\n".join(tables)


def _table(columns: tuple[str, ...], cells: Callable[[Row], Iterable[str]], rows: Iterable[Row]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in rows:
        begun = [row["label"], row["model"], f"{row['dtype']}, {row['engine']}, {row['weights']}", str(row["batch"])]
        rest = [row["error"], *[""] * (len(columns) - 5)] if row["error"] else list(cells(row))
        lines.append(f"| {' | '.join([*begun, *rest])} |")
    return "\n".join(lines) + "\n"


def _pass_cells(row: Row) -> Iterable[str]:
    best = {name: 1000 * min(values) for name, values in row["seconds"].items()}
    return (
        str(row["tokens"]),
        f"{best['pass']:.2f}",
        f"{row['one_token_passes']:.2f}",
        f"{row['of_huggingface']:.2f}",
    )


def _method_cells(row: Row) -> Iterable[str]:
    return (
        f"{row['scripted_tokens_per_forward']:.2f}",
        f"{row['tokens_per_forward']:.2f}",
        f"{row['tokens_per_second']:.1f}",
        f"{row['speedup']:.2f}" if "speedup" in row else "",
        _percent(row["conversion"]) if "conversion" in row else "",
        _percent(row["of_bandwidth"]) if "of_bandwidth" in row else "",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


SHARED = ("", "model", "dtype, engine, weights", "batch")
TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Row], Iterable[str]]]] = {
    "pass": ((*SHARED, "tokens", "ms", "one-token passes", "of Hugging Face's time"), _pass_cells),
    "method": (
        (*SHARED, "scripted TPF", "TPF", "tokens/s", "times AR", "conversion", "of the bandwidth"),
        _method_cells,
    ),
}
