"""Decoding: what a pass costs beside one token and beside Hugging Face, and what remains of tokens per forward in time.

python -m benchmarks.decode run --part cpu_passes       benchmarks/results/decode_speed_cpu_passes.json; finished rows are kept
python -m benchmarks.decode run --part cuda_7b_methods  random weights of 7B shapes, acceptance scripted at a stated rate
python -m benchmarks.decode run --dry                   all kinds of rows in seconds, on a CPU; writes nothing
python -m benchmarks.decode table                       all results as tables

A pass whose logits are not Hugging Face's, and a method whose tokens are not AR's or whose tokens per forward are not the
scripted ones, has no times: the command says so, and its exit code is 1.
"""

from benchmarks.suite import Suite
from benchmarks.suite import main as command


def main() -> int:
    """Run one of the commands; the exit code."""
    return command("benchmarks.decode", __doc__, _suite, repeats=3)


def _suite() -> Suite:
    from . import parts
    from .rendering import markdown_table, told

    return Suite("decode_speed", parts.PARTS, parts.dry, parts.measured, told, markdown_table)


if __name__ == "__main__":
    raise SystemExit(main())
