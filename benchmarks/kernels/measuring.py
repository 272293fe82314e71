"""Agreement first, then time and memory of one case; results as a table."""

from collections.abc import Mapping
from typing import Any

from benchmarks.timing import interleaved, peak_bytes

from .case import Case, disagreement

__all__ = ["markdown_table", "measured"]


def measured(case: Case, *, repeats: int, device: str, ceiling: Mapping[str, float] | None) -> dict[str, Any]:
    """Measure one case, unless its implementations disagree.

    Args:
        case: what.
        repeats: timed rounds.
        device: where it runs.
        ceiling: of the device; None: no fractions.

    Returns:
        JSON-able: ``error``, empty if all agree; then ``seconds`` and ``peak_bytes`` by implementation, ``ratios`` of minima,
        how many times as fast ours is as each other, ``memory_ratios`` likewise, and ``of_ceiling``, the share of the time
        that the device must at least take for the bytes and the operations, whichever is longer.
    """
    outputs = {name: run() for name, run in case.runs.items()}
    reference = next(iter(outputs))
    errors = {name: disagreement(found, outputs[reference]) for name, found in outputs.items()}
    del outputs
    row: dict[str, Any] = {"name": case.name, "op": case.op, "size": case.size, "error_ratios": errors}
    wrong = {name: ratio for name, ratio in errors.items() if not ratio <= case.most}
    if wrong:
        told = ", ".join(f"{name} by {ratio:.1e}" for name, ratio in wrong.items())
        return {**row, "error": f"not timed: {told} off {reference}, allowed {case.most:.0e}"}
    peaks = {name: peak_bytes(run, device) for name, run in case.runs.items()}
    seconds = interleaved(case.runs, repeats, device)
    best = {name: min(values) for name, values in seconds.items()}
    row |= {
        "error": "",
        "seconds": seconds,
        "peak_bytes": peaks,
        "ours": case.ours,
        "ratios": {name: round(best[name] / best[case.ours], 3) for name in best if name != case.ours},
        "memory_ratios": {
            name: round(peaks[name] / max(1, peaks[case.ours]), 3) for name in peaks if name != case.ours
        },
    }
    if ceiling is not None:
        least = max(case.bytes / ceiling["bytes_per_second"], case.flops / ceiling["flops_per_second"])
        row["of_ceiling"] = round(least / best[case.ours], 3)
    return row


def markdown_table(results: Mapping[str, Any]) -> str:
    """One line a case: how many times as fast as each other implementation, how much less memory, share of the ceiling."""
    lines = [
        "| op | size | times as fast as | times less memory than | of the device's ceiling |",
        "|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        if row["error"]:
            lines.append(f"| {row['op']} | {row['size']} | {row['error']} | | |")
            continue
        fast, small = (
            ", ".join(f"{name}: {ratio:.2f}" for name, ratio in row[key].items()) for key in ("ratios", "memory_ratios")
        )
        lines.append(f"| {row['op']} | {row['size']} | {fast} | {small} | {100 * row['of_ceiling']:.0f} % |")
    return "\n".join(lines) + "\n"
