"""Peak memory of optimiser steps, planned and measured.

python -m benchmarks.plan run --part cpu   benchmarks/results/plan_cpu.json
python -m benchmarks.plan run --dry        smaller batches, on a CPU; writes nothing
python -m benchmarks.plan table            results as a table

A plan that is off by more than 15 % is an error: the command says so, and its exit code is 1.
"""

from benchmarks.suite import Suite
from benchmarks.suite import main as command


def main() -> int:
    """Run one of the commands; the exit code."""
    return command("benchmarks.plan", __doc__, _suite, repeats=1)


def _suite() -> Suite:
    from . import measuring

    return Suite(
        "plan",
        {"cpu": ("cpu", lambda: measuring.CASES)},
        lambda: measuring.DRY,
        measuring.measured,
        lambda row: f"{row['planned_bytes'] / 1e6:.4g} MB planned, {row['measured_bytes'] / 1e6:.4g} MB measured",
        measuring.markdown_table,
    )


if __name__ == "__main__":
    raise SystemExit(main())
