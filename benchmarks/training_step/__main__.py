"""Training steps: dense attention, segments, FlexAttention and our kernel, in two layouts; time and peak memory.

python -m benchmarks.training_step run --part cpu_smollm2  benchmarks/results/training_step_cpu_smollm2.json
python -m benchmarks.training_step run --part cuda_1.5b    random weights of 1.5B shapes; finished arms are kept
python -m benchmarks.training_step run --dry               a tiny model in seconds, on a CPU; writes nothing
python -m benchmarks.training_step table                   all results as tables

An arm whose loss, gradient or attention is off, or that makes a tensor of queries x keys though it promises none, has no
times: the command says so, and its exit code is 1. An arm whose backend is absent is told with the reason.
"""

from benchmarks.suite import Suite
from benchmarks.suite import main as command


def main() -> int:
    """Run one of the commands; the exit code."""
    return command("benchmarks.training_step", __doc__, _suite, repeats=3)


def _suite() -> Suite:
    from functools import partial

    from . import parts
    from .measuring import cases_of, markdown_table, measured

    return Suite(
        "training_step",
        {name: (part.device, partial(cases_of, part)) for name, part in parts.PARTS.items()},
        lambda: cases_of(parts.DRY),
        measured,
        lambda row: f"{row['times_as_fast']} times as fast as {row['against']}",
        markdown_table,
        lambda part: parts.PARTS[part].head(),
    )


if __name__ == "__main__":
    raise SystemExit(main())
