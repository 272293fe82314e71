"""The rows of an evaluation for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

__all__ = ["evaluation_table"]

POSITIONS = 6
"""So many positions of a pass are shown."""


def evaluation_table(report: Mapping[str, Any]) -> Table:
    """Accuracy beside what it cost; one column for each arm, lines that nothing is known for left out."""
    rows = report["rows"]
    table = Table(title=f"{report['task']}: {rows[0]['problems']} problems", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(f"{row['name']} ({row['dtype']})", justify="right")
    lines: dict[str, list[str]] = {
        "accuracy": [_percent(row.get("accuracy"), row.get("standard_error")) for row in rows],
        "by number in box or behind mark only": [_percent(row.get("strict")) for row in rows],
        "by likelihood per character": [_percent(row.get("normalised")) for row in rows],
        "nats per token": _numbers(rows, "nats_per_token", ".3f"),
        "bits per byte": _numbers(rows, "bits_per_byte", ".3f"),
        "tokens per forward (TPF)": _numbers(rows, "tokens_per_forward", ".2f"),
        "forward passes (NFE)": _numbers(rows, "nfe", "d"),
        "generated tokens": _numbers(rows, "generated_tokens", "d"),
        "tokens per second": _numbers(rows, "tokens_per_second", ".1f"),
        "speed": _numbers(rows, "speed", ".2f"),
        "speed, mean of problems": _numbers(rows, "speed_mean_of_problems", ".2f"),
        "outputs equal to ar's": [_percent(row.get("identical")) for row in rows],
        "accepted draft tokens per round": _numbers(rows, "accepted_draft_per_round", ".2f"),
        "passes that fix 1, 2, 3 ... tokens or more": [_positions(row) for row in rows],
        "draft tokens right at place 1, 2, 3 ...": [_places(row) for row in rows],
        "distinct-3": [_collapse(row) for row in rows],
    }
    phases = dict.fromkeys(name for row in rows for name in row.get("seconds_by_phase", {}))
    names = sorted(phases, key=lambda name: name == "outside")
    lines |= {f"time: {name}": [_share(row, name) for row in rows] for name in names}
    for name, cells in lines.items():
        if any(cells):
            table.add_row(name, *cells)
    aup = report.get("aup")
    if aup:
        table.caption = "AUP (accuracy under parallelism): " + ", ".join(f"{name} {x:.1f}" for name, x in aup.items())
    return table


def _numbers(rows: Sequence[Mapping[str, Any]], key: str, form: str) -> list[str]:
    return ["" if row.get(key) is None else format(row[key], form) for row in rows]


def _percent(share: float | None, error: float | None = None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.1f} %" if error is None else f"{100 * share:.1f} ± {100 * error:.1f} %"


def _share(row: Mapping[str, Any], phase: str) -> str:
    spent = row.get("seconds_by_phase", {})
    return f"{100 * spent[phase] / row['seconds']:.0f} %" if phase in spent and row["seconds"] else ""


def _positions(row: Mapping[str, Any]) -> str:
    return _listed([one["reached"] for one in row.get("acceptance_by_position", [])])


def _places(row: Mapping[str, Any]) -> str:
    return _listed(list(row.get("drafts", {}).get("acceptance_at", {}).values()))


def _listed(found: Sequence[float]) -> str:
    shares = [f"{100 * share:.0f}" for share in found]
    return " ".join([*shares[:POSITIONS], *(["..."] if len(shares) > POSITIONS else [])]) + (" %" if shares else "")


def _collapse(row: Mapping[str, Any]) -> str:
    if "collapse" not in row:
        return ""
    return f"{row['collapse']['distinct_3']:.3f}" + (" (collapsed)" if row["collapsed"] else "")
