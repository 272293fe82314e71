"""The benchmark of kernels: every kind of case agrees, a wrong one is not timed."""

import dataclasses

import pytest
import torch


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"kernels.{name}")


CEILING = {"bytes_per_second": 1e9, "flops_per_second": 1e9}


def test_all_kinds_of_cases_agree_and_are_measured(module):
    rows = [
        module("measuring").measured(case, repeats=1, device="cpu", ceiling=CEILING) for case in module("parts").dry()
    ]
    assert {row["op"] for row in rows} == {
        "selected_cross_entropy", "confidence", "confidence_from_hidden", "block_attention", "block_diffusion_attention",
        "flow_mean", "nearest_code", "sequence_logprob",
    }  # fmt: skip
    for row in rows:
        assert row["error"] == ""
        assert row["ours"] in row["seconds"]
        assert all(ratio > 0 for ratio in row["ratios"].values())
        assert row["of_ceiling"] >= 0
    table = module("measuring").markdown_table({"rows": rows})
    assert table.count("\n") == 2 + len(rows)
    # All logits at once, 200 x 300 of them several times over, against chunks of three rows.
    head = next(row for row in rows if row["op"] == "selected_cross_entropy")
    assert head["memory_ratios"]["all logits"] > 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nearest_codes_hold_no_distances_of_all_rows_to_all_codes(module, benchmark_module, metric):
    def peaks(rows: int) -> dict[str, int]:
        runs = module("code_cases").nearest_code_case((3000, 4), rows, "cpu", metric).runs
        return {
            name: benchmark_module("timing").peak_bytes(runs[name], "cpu") for name in ("ar_kernels", "all distances")
        }

    few, many = peaks(1000), peaks(16000)
    assert many["all distances"] >= 4 * 16000 * 3000
    # An id and a score a row, and nothing else, is more.
    assert many["ar_kernels"] - few["ar_kernels"] <= 1.1 * 15000 * (8 + 4)
    assert many["ar_kernels"] < 16 * 2**20


def test_a_case_whose_implementations_disagree_has_no_times(module):
    case = next(module("parts").dry())
    for wrong in (0.5, float("nan")):
        runs = {**case.runs, "ar_kernels": lambda wrong=wrong: tuple(x * wrong for x in case.runs["ar_kernels"]())}
        row = module("measuring").measured(dataclasses.replace(case, runs=runs), repeats=1, device="cpu", ceiling=None)
        assert row["error"].startswith("not timed: ar_kernels by ")
        assert not {"seconds", "ratios", "of_ceiling"} & row.keys()
        assert "not timed" in module("measuring").markdown_table({"rows": [row]})


def test_ids_that_differ_count(module):
    same, other = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5])
    assert module("case").disagreement((same,), (other,)) == float("inf")
    many = torch.arange(2000)
    assert module("case").disagreement((many,), (many.where(many != 7, 0),)) == 1 / 2000


def test_peak_memory_is_what_a_run_holds_at_most(benchmark_module):
    def run():
        torch.zeros(1000).add(1).add(1)

    assert 2 * 4000 <= benchmark_module("timing").peak_bytes(run, "cpu") < 4 * 4000


def test_runs_are_timed_in_turn_and_the_first_rounds_dropped(benchmark_module):
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = benchmark_module("timing").interleaved(runs, 3, "cpu", dropped=2)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert calls == ["a", "b"] * 5


def test_the_command_line(module, benchmark_module, monkeypatch, capsys, tmp_path):
    parts = module("parts")
    monkeypatch.setattr(parts, "PARTS", {"tiny": ("cpu", parts.dry)})
    monkeypatch.setattr(benchmark_module("timing"), "ceilings", lambda device, dtype: CEILING)
    monkeypatch.setattr("ar_core.allocator.keep_freed_memory", lambda: True)
    threads = str(torch.get_num_threads())
    for arguments in (
        ["run", "--part", "tiny", "--repeats", "1", "--threads", threads, "--results", str(tmp_path)],
        ["table", "--results", str(tmp_path)],
    ):
        monkeypatch.setattr("sys.argv", ["kernels", *arguments])
        assert module("__main__").main() == 0
    assert [file.name for file in tmp_path.iterdir()] == ["kernels_tiny.json"]
    assert "| block_attention |" in capsys.readouterr().out
