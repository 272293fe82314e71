"""Sampling of images: what the windowed cache saves beside a cache that concatenates and beside no cache at all.

python -m benchmarks.image_sampling run --part cpu_small      benchmarks/results/image_sampling_cpu_small.json; finished cases are kept
python -m benchmarks.image_sampling run --part cpu_published  published shapes, cut to minutes
python -m benchmarks.image_sampling run --dry                 all kinds of cases in seconds, on a CPU; writes nothing
python -m benchmarks.image_sampling table                     all results as a table

Weights are random: they change neither passes nor operations nor, but for noise, time. All arms of a case have the same ones. A
case whose arms draw other codes or run other passes has no times: the command says so, and its exit code is 1.
"""

from benchmarks.suite import Suite
from benchmarks.suite import main as command


def main() -> int:
    """Run one of the commands; the exit code."""
    return command("benchmarks.image_sampling", __doc__, _suite, repeats=5)


def _suite() -> Suite:
    from . import parts
    from .measuring import markdown_table, measured, told

    return Suite("image_sampling", parts.PARTS, parts.dry, measured, told, markdown_table)


if __name__ == "__main__":
    raise SystemExit(main())
