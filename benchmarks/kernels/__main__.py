"""Kernels: time and memory against their references, and how near they come to what the device can do.

python -m benchmarks.kernels run --part cpu_head       benchmarks/results/kernels_cpu_head.json; finished cases are kept
python -m benchmarks.kernels run --part cuda_training  random weights of 1.5B and 7B shapes
python -m benchmarks.kernels run --dry                 all kinds of cases in a second, on a CPU; writes nothing
python -m benchmarks.kernels table                     all results as a table

A case whose implementations disagree has no times: the command says so, and its exit code is 1.
"""

from benchmarks.suite import Suite
from benchmarks.suite import main as command


def main() -> int:
    """Run one of the commands; the exit code."""
    return command("benchmarks.kernels", __doc__, _suite, repeats=7)


def _suite() -> Suite:
    from . import parts
    from .measuring import markdown_table, measured

    return Suite("kernels", parts.PARTS, parts.dry, measured, lambda row: str(row["ratios"]), markdown_table)


if __name__ == "__main__":
    raise SystemExit(main())
