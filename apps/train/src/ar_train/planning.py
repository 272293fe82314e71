"""A plan as a table, or as JSON."""

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from ar_core.planning import Hardware, RunPlan, Timetable

__all__ = ["as_data", "table"]

KINDS = {
    "weights": "weights",
    "buffers": "buffers",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "average": "average of weights",
    "batch": "batch",
    "logits": "logits and their gradients",
    "activations": "activations and temporaries",
}


def as_data(plan: "RunPlan", hardware: "Hardware", times: "Timetable") -> dict[str, Any]:
    """All that is known, JSON-able; bytes and seconds."""
    return {
        "plan": dataclasses.asdict(plan),
        "hardware": dataclasses.asdict(hardware),
        "times": dataclasses.asdict(times),
    }


def table(plan: "RunPlan", hardware: "Hardware", times: "Timetable") -> Table:
    """One line a number; memory is that of the moment when most is alive."""
    rows = Table("", "", show_header=False, title=_title(plan, hardware), title_justify="left")
    rows.columns[1].justify = "right"
    rows.add_row("parameters, trained", f"{plan.trained:,}")
    rows.add_row("parameters, frozen", f"{plan.frozen:,}", end_section=True)
    held = [(KINDS[kind], plan.memory[kind]) for kind in KINDS if kind in plan.memory]
    for position, (name, size) in enumerate(held, 1):
        rows.add_row(f"memory: {name}", _bytes(size), end_section=position == len(held))
    verdict = "fits" if times.fits else "DOES NOT FIT"
    share = f"{times.memory_share:.1%} of {_bytes(hardware.memory_bytes)}: {verdict}"
    rows.add_row("memory of a device, peak", f"{_bytes(plan.peak_bytes)} ({share})", end_section=True)
    rows.add_row("samples a step", f"{plan.samples_per_step:,}")
    rows.add_row("tokens a step", f"{plan.tokens_per_step:,}" if plan.tokens_per_step else "samples have none")
    rows.add_row("forward passes of a device a step", f"{plan.micro_batches:,}")
    rows.add_row(f"operations of a device a step ({plan.dtype})", f"{plan.flops_per_step:.3g}", end_section=True)
    rows.add_row(f"products, at {times.utilisation:.0%} of the device", _time(times.product_seconds))
    rows.add_row("optimiser", _time(times.update_seconds))
    if plan.processes > 1:
        exchange = times.exchange_seconds
        rows.add_row(
            "exchange of gradients", "unknown: the link's speed is not known" if exchange is None else _time(exchange)
        )
    rows.add_row("a step", _time(times.step_seconds))
    rows.add_row(f"all {plan.steps:,} steps", _time(times.run_seconds), end_section=True)
    rows.add_row("a checkpoint", _bytes(plan.checkpoint_bytes))
    rows.add_row(f"on disk, {plan.kept_checkpoints} of them", _bytes(plan.kept_checkpoints * plan.checkpoint_bytes))
    return rows


def _title(plan: "RunPlan", hardware: "Hardware") -> str:
    if plan.processes == 1:
        return f"one device: {hardware.name}"
    return f"{plan.processes} devices, each with all weights (ddp): {hardware.name}"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} bytes"


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
