"""What a program may do in the sandbox, and what counts as having passed."""

import os
import time

import pytest
from ar_core.errors import ConfigError
from dlm_text.evaluation.sandbox import Limits, run_program, sandbox_description

QUICK = Limits(seconds=20)


def test_a_program_that_runs_to_its_end_has_passed():
    done = run_program("import math\nassert math.sqrt(4) == 2\nprint('x' * 10 ** 6)", QUICK)
    assert done.passed
    assert done.reason == ""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "left early"),
        ("import os; os._exit(0)", "left early"),
        ("raise SystemExit", "left early"),
        ("bytearray(4 * 2**30)", "MemoryError"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "not allowed"),
        ("input()", "EOFError"),
        ("print('\ud800')", ""),
    ],
)
def test_a_program_that_does_not_has_failed_with_a_reason(source, reason):
    done = run_program(source, QUICK)
    assert not done.passed or source.startswith("print")
    assert reason in done.reason


@pytest.mark.parametrize(
    "source",
    [
        "import socket; socket.socket()",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_network_and_processes_are_refused(source):
    done = run_program(source, QUICK)
    assert not done.passed
    assert "not allowed in the sandbox" in done.reason


def test_the_kernel_itself_knows_no_network_where_it_says_so():
    done = run_program(
        "print(open('/proc/net/dev').read().count(':'))\nassert open('/proc/net/route').read().count(chr(10)) <= 1",
        QUICK,
    )
    if done.isolation["network"] != "network namespace":
        pytest.skip("this kernel gives no network namespace to users")
    assert done.passed, done.reason


def test_files_outside_the_working_folder_stay_as_they_are(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    for source in (
        f"open({str(kept)!r}, 'w')",
        f"import os; os.remove({str(kept)!r})",
        f"import os; os.open({str(kept)!r}, os.O_RDWR)",
    ):
        assert "sandbox" in run_program(source, QUICK).reason
    assert kept.read_text() == "as it was"
    assert run_program("open('mine', 'w').write('x')\nassert open('mine').read() == 'x'", QUICK).passed


def test_large_files_and_many_of_them_are_refused():
    assert "File too large" in run_program("open('a', 'wb').write(b'x' * (17 * 2**20))", QUICK).reason
    assert "Too many open files" in run_program("kept = [open(str(i), 'w') for i in range(100)]", QUICK).reason


@pytest.mark.parametrize("source", ["while True: pass", "import time; time.sleep(60)"])
def test_time_runs_out(source):
    begun = time.perf_counter()
    done = run_program(source, Limits(seconds=0.5))
    assert done.reason == "timeout"
    assert time.perf_counter() - begun < 15


def test_no_variable_of_ours_and_no_module_of_ours_is_there(monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    assert run_program(
        "import os\nassert 'SECRET_OF_OURS' not in os.environ\nassert os.listdir('.') == []", QUICK
    ).passed
    assert run_program(
        "assert __name__ == '__main__'\nimport __main__\nassert not hasattr(__main__, 'nope')", QUICK
    ).passed
    assert os.environ["SECRET_OF_OURS"] == "1"


def test_the_description_says_what_holds():
    told = sandbox_description()
    assert told["network"] in ("network namespace", "audit hook")
    assert {"AS", "CPU"} <= set(told["limits"])


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"memory_mib": 0}, {"file_mib": -1}])
def test_limits_are_positive(wrong):
    with pytest.raises(ConfigError, match="positive"):
        Limits(**wrong)
