"""Memory of a command is its own: neither its caller's nor that of one before it."""

import sys

import pytest
from ar_core.errors import DataError

HOLD = "import time; x = bytearray(int({size}e6)); x[::4096] = b'1' * len(x[::4096]); time.sleep(0.3)"


@pytest.fixture
def run_alone(benchmark_module):
    return benchmark_module("child_memory").run_alone


def test_the_peak_is_the_childs_own(run_alone):
    held = bytearray(400_000_000)
    held[::4096] = b"1" * len(held[::4096])
    large = run_alone([sys.executable, "-c", HOLD.format(size=200)])
    small = run_alone([sys.executable, "-c", HOLD.format(size=20)])
    assert 190 < large.peak_mebibytes < 300
    assert 19 < small.peak_mebibytes < 100
    assert large.seconds > 0.3
    del held


def test_a_failing_command_says_why(run_alone):
    with pytest.raises(DataError, match=r"the command .* failed: .*no such thing"):
        run_alone([sys.executable, "-c", "raise SystemExit('no such thing')"])
