"""Agreement and counters first, then the time of one case; results as a table."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from benchmarks.timing import interleaved

from .case import FREE, WINDOWED, Case

__all__ = ["markdown_table", "measured", "told"]


def measured(case: Case, *, repeats: int, device: str, ceiling: Mapping[str, float] | None) -> dict[str, Any]:
    """Measure one case, unless its arms disagree.

    Args:
        case: what.
        repeats: timed rounds.
        device: where it runs.
        ceiling: not used: what matters here is one way beside another.

    Returns:
        JSON-able: ``error``, empty if all arms with guidance draw the same codes in the same passes; ``counters`` of each arm
        (forwards, row_forwards, flops); then ``seconds``, and ``ratios`` of minima: how many times as long as the windowed
        cache each other arm takes.
    """
    del ceiling
    row: dict[str, Any] = {
        "name": case.name, "family": case.family, "size": case.size, "batch": case.batch, "guidance": case.guidance
    }  # fmt: skip
    drawn = {name: run(True) for name, run in case.arms.items()}
    row["counters"] = {
        name: {
            "forwards": dict(one.stats.forwards),
            "row_forwards": dict(one.stats.row_forwards),
            "flops": one.flops,
        }
        for name, one in drawn.items()
    }
    windowed = drawn[WINDOWED]
    for name, one in drawn.items():
        if name == FREE:
            continue
        if not torch.equal(one.codes, windowed.codes):
            share = float((one.codes != windowed.codes).float().mean())
            return {**row, "error": f"not timed: {share:.1%} of the codes with {name} are not those of the {WINDOWED}"}
        if row["counters"][name]["row_forwards"] != row["counters"][WINDOWED]["row_forwards"]:
            return {**row, "error": f"not timed: {name} runs other passes than the {WINDOWED}"}
    seconds = interleaved({name: partial(run, False) for name, run in case.arms.items()}, repeats, device)
    best = {name: min(values) for name, values in seconds.items()}
    ratios = {name: round(value / best[WINDOWED], 3) for name, value in best.items() if name != WINDOWED}
    return {**row, "error": "", "seconds": seconds, "ratios": ratios}


def told(row: Mapping[str, Any]) -> str:
    """The ratios of a row that has times."""
    return f"{min(row['seconds'][WINDOWED]):.2f} s, others in units of it: {row['ratios']}"


def markdown_table(results: Mapping[str, Any]) -> str:
    """One line an arm: passes, rows and operations; time and how many times that of the windowed cache."""
    lines = [
        "| model | images | way | passes | rows of passes | GFLOP | seconds | times the windowed cache |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        start = f"| {row['family']}, {row['size']} | {row['batch']} |"
        if row["error"]:
            lines.append(f"{start} {row['error']} | | | | | |")
            continue
        for name, counted in row["counters"].items():
            passes, rows = (sum(counted[key].values()) for key in ("forwards", "row_forwards"))
            ratio = row["ratios"].get(name, 1.0)
            seconds = min(row["seconds"][name])
            lines.append(
                f"{start} {name} | {passes} | {rows} | {counted['flops'] / 1e9:.2f} | {seconds:.2f} | {ratio:.2f} |"
            )
    return "\n".join(lines) + "\n"
