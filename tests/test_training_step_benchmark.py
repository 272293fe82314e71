"""The benchmark of training steps: arms agree or are refused, what cannot run is told, finished arms are kept."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ar_core.attention import BACKENDS
from ar_core.errors import BackendError, DataError
from ar_core.masks import Mask, causal

ROOT = Path(__file__).parents[1]
WORK = ("attention alone", "optimiser step")


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"training_step.{name}")


def with_segments(monkeypatch, compute):
    """Put another computation behind the name `segments`."""
    backend = SimpleNamespace(available=lambda: (True, ""), refuses=lambda *call: None, compute=compute)
    monkeypatch.setitem(BACKENDS, "segments", backend)


def dry_rows(module, backends=("sdpa", "segments"), **changes):
    part = dataclasses.replace(module("parts").DRY, backends=backends, **changes)
    measuring = module("measuring")
    cases = measuring.cases_of(part)
    return {case.name: measuring.measured(case, repeats=1, device="cpu", ceiling=None) for case in cases}


def test_all_arms_of_a_cpu_agree_and_are_measured(module):
    rows = dry_rows(module)
    assert rows.keys() == {
        *(f"{what}, {layout}, segments" for what in WORK for layout in ("2 x 2L", "3L")),
        "optimiser step, 3L, dense",
    }
    for row in rows.values():
        assert row["error"] == row["not_run"] == ""
        assert row["seconds"].keys() == row["peak_bytes"].keys() == {row["against"], row["arm"]}
        assert all(len(seconds) == 1 for seconds in row["seconds"].values())
        assert row["times_as_fast"] > 0
        assert row["times_less_memory"] > 0
        # Rounding differs: an arm that is compared with itself would show in a plain zero.
        assert all(0 <= difference <= 1e-5 for difference in row["differences"].values())
        for name, number in row["tensors_of_T_x_T"].items():
            assert (number > 0) == name.endswith("dense")
    step = rows["optimiser step, 3L, segments"]
    assert step["differences"]["gradient"] > 0
    assert step["against"] == "2 x 2L, dense"
    # T = 120: one mask of bools alone.
    assert all(peak > 120**2 for peak in step["peak_bytes"].values())


def test_what_is_held_is_weights_and_two_moments(module):
    step = module("parts").DRY.step()
    weights = sum(parameter.numel() for parameter in step.model.parameters())
    assert 3 * 4 * weights <= step.held_bytes < 3 * 4 * weights + 1000


def test_steps_leave_the_weights_where_arms_are_compared(module):
    arms = module("arms")
    step = module("parts").DRY.step()
    before = [parameter.clone() for parameter in step.parameters]
    first = step.agreement(arms.Arm("shared", "segments"))
    for _ in range(2):
        step(arms.PUBLISHED)
    assert all(map(torch.equal, before, step.parameters))
    assert all(parameter.grad is None for parameter in step.parameters)
    assert step.agreement(arms.Arm("shared", "segments")) == first


def off_by_a_percent(q, k, v, mask, scale):
    return 1.01 * BACKENDS["sdpa"].compute(q, k, v, mask, scale)


def not_a_number(q, k, v, mask, scale):
    return float("nan") * BACKENDS["sdpa"].compute(q, k, v, mask, scale)


@pytest.mark.parametrize("wrong", [off_by_a_percent, not_a_number])
def test_an_arm_that_disagrees_has_no_times(module, monkeypatch, wrong):
    with_segments(monkeypatch, wrong)
    rows = dry_rows(module)
    for name, row in rows.items():
        if name.endswith("dense"):
            assert row["seconds"]
            continue
        assert "off " in row["error"]
        assert not {"seconds", "times_as_fast", "peak_bytes"} & row.keys()
    table = module("measuring").markdown_table({"rows": list(rows.values())})
    assert table.count("not timed: ") == 4


def test_an_arm_that_makes_what_it_promises_not_to_has_no_times(module, monkeypatch):
    with_segments(monkeypatch, lambda *call: BACKENDS["sdpa"].compute(*call))
    for name, row in dry_rows(module).items():
        if not name.endswith("dense"):
            assert "tensors of T x T" in row["error"]
            assert "off" not in row["error"]
            assert "seconds" not in row


def test_the_limits_of_bfloat16_let_rounding_pass_and_no_wrong_mask(module, monkeypatch):
    parts, subjects = module("parts"), module("subjects")
    low = {"dtype": torch.bfloat16, "subject": subjects.random_qwen2(parts.TINY, torch.bfloat16, "cpu")}
    rows = dry_rows(module, **low)
    assert all(row["error"] == "" for row in rows.values())
    # Beyond what float32 is held to: the limits are needed.
    assert rows["optimiser step, 3L, segments"]["differences"]["gradient"] > 1e-4

    def hides_more(q, k, v, mask, scale):
        return BACKENDS["sdpa"].compute(q, k, v, Mask(mask.rule & causal(), mask.queries, mask.keys), scale)

    with_segments(monkeypatch, hides_more)
    for name, row in dry_rows(module, **low).items():
        if not name.endswith("dense"):
            assert "attention off" in row["error"] or "gradient off" in row["error"]


def refuses(*call):
    raise BackendError("it cannot do this")


def is_too_large(*call):
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    ("compute", "reason"),
    [(refuses, "it cannot do this"), (is_too_large, "it does not fit in the memory of the device")],
)
def test_an_arm_that_cannot_run_is_told_with_the_reason(module, monkeypatch, compute, reason):
    with_segments(monkeypatch, compute)
    rows = dry_rows(module)
    assert [row["not_run"] for row in rows.values()] == [reason, reason, reason, "", reason]
    assert rows["optimiser step, 3L, dense"]["seconds"]
    assert f"| not run: {reason} |" in module("measuring").markdown_table({"rows": list(rows.values())})


def test_compiled_arms_are_not_looked_into(module):
    squares, arm = module("squares"), module("arms").Arm
    for backend, expected in (("triton", {"3L, kernel": 1}), ("flex", {})):
        with squares.counting(arm("shared", backend), 5) as found:
            torch.zeros(3, 5, 5)
            torch.zeros(5, 3)
        assert found == expected


def test_a_row_as_long_as_a_layer_is_wide_is_refused(module):
    part = dataclasses.replace(module("parts").DRY, length=16)
    with pytest.raises(DataError, match="a row of 32 tokens is as long as a layer is wide"):
        part.step()


def test_the_table_compares_3l_with_dense_in_both_layouts(module):
    def row(arm, fast, small):
        return {
            "name": f"optimiser step, {arm}", "what": "optimiser step", "arm": arm, "against": "2 x 2L, dense",
            "error": "", "not_run": "", "held_bytes": 10**9, "times_as_fast": fast, "times_less_memory": small,
            "seconds": {"2 x 2L, dense": [3.0, 2.0], arm: [2.0 / fast]},
            "peak_bytes": {"2 x 2L, dense": 3 * 10**9, arm: int(3e9 / small)},
        }  # fmt: skip

    rows = [row("2 x 2L, segments", 2.0, 1.5), row("3L, dense", 1.25, 1.0), row("3L, segments", 4.0, 3.0)]
    assert module("measuring").markdown_table({"rows": rows}).splitlines()[2:] == [
        "| optimiser step | 2 x 2L, segments | 2 x 2L, dense | 2.00 | 1.50 | 2 / 1 | 4 / 3 |",
        "| optimiser step | 3L, dense | 2 x 2L, dense | 1.25 | 1.00 | 2 / 1.6 | 4 / 4 |",
        "| optimiser step | 3L, segments | 2 x 2L, dense | 4.00 | 3.00 | 2 / 0.5 | 4 / 2 |",
        "| optimiser step | 3L, segments | 3L, dense | 3.20 | 3.00 | | |",
    ]


def test_the_parts_are_what_they_say(module):
    parts = module("parts").PARTS
    assert parts.keys() == {"cpu_smollm2", "cuda_1.5b", "cuda_7b"}
    for name, part in parts.items():
        assert part.backends[0] == "sdpa"
        assert ("random weights" in part.described) == (part.device == "cuda"), name
        assert ("flex" in part.backends) == (part.device == "cuda"), name
        assert part.head()["limits"].keys() == {"loss", "gradient", "attention"}


def test_the_command_line(module, benchmark_module, monkeypatch, capsys, tmp_path):
    main, parts = module("__main__").main, module("parts")
    tiny = dataclasses.replace(parts.DRY, backends=("sdpa", "segments"))
    monkeypatch.setattr(parts, "PARTS", {"tiny": tiny})
    monkeypatch.setattr("ar_core.allocator.keep_freed_memory", lambda: True)
    monkeypatch.setattr(benchmark_module("timing"), "ceilings", lambda device, dtype: {})
    shared = ["--results", str(tmp_path), "--repeats", "1", "--threads", str(torch.get_num_threads())]

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["training_step", *arguments])
        return main()

    with monkeypatch.context() as context:
        with_segments(context, off_by_a_percent)
        assert run("run", "--part", "tiny", *shared) == 1
    file = tmp_path / "training_step_tiny.json"
    first = json.loads(file.read_text())
    assert (first["length"], first["block"]) == (40, 8)
    assert [("seconds" in row) for row in first["rows"]] == [False, False, False, True, False]
    assert run("run", "--part", "tiny", *shared) == 0
    again = json.loads(file.read_text())["rows"]
    assert again[0] == first["rows"][3], "a finished arm is kept"
    assert len(again) == 5
    assert all("seconds" in row for row in again)
    assert run("table", "--results", str(tmp_path)) == 0
    assert "| optimiser step | 3L, dense | 2 x 2L, dense |" in capsys.readouterr().out


def test_the_dry_run_and_the_kernel_under_the_interpreter(tmp_path):
    pytest.importorskip("triton", reason="triton is not installed")
    if torch.cuda.is_available():
        pytest.skip("the kernel needs tensors on the device here")
    # The interpreter is chosen when triton is imported, hence a process of its own.
    command = [sys.executable, "-m", "benchmarks.training_step", "run", "--dry", "--results", str(tmp_path)]
    run = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    told = [line for line in run.stdout.splitlines() if line.startswith(WORK)]
    assert len(told) == 9
    assert all(line.endswith(": agrees") for line in told)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_tells_why_the_kernel_is_left_out(module, monkeypatch, capsys):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["training_step", "run", "--dry", "--threads", str(torch.get_num_threads())])
    assert module("__main__").main() == 0
    told = capsys.readouterr().out
    assert told.count("kernel: not run: The attention backend 'triton' cannot be used here: ") == 4
    assert told.count(": agrees") == 5
