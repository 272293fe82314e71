"""The command line of benchmarks that have parts: exit codes, one-sentence errors, rows that are kept."""

import json
from dataclasses import dataclass

import pytest
import torch

CEILING = {"bytes_per_second": 1e9, "flops_per_second": 1e9}


@dataclass(frozen=True)
class Case:
    name: str
    error: str = ""
    not_run: str = ""


@pytest.fixture
def run(benchmark_module, monkeypatch):
    """The command line of a benchmark of two cases, the second of which is told to go wrong; what it has measured."""
    command = benchmark_module("suite")
    monkeypatch.setattr(benchmark_module("timing"), "ceilings", lambda device, dtype: CEILING)
    monkeypatch.setattr("ar_core.allocator.keep_freed_memory", lambda: True)
    seen = []

    def measured(case, *, repeats, device, ceiling):
        seen.append((case.name, repeats, device, ceiling))
        return {"name": case.name, "error": case.error, "not_run": case.not_run}

    def main(*arguments, wrong="", absent="", length=7):
        cases = [Case("one"), Case("two", wrong, absent)]
        suite = command.Suite(
            "made_up",
            {"tiny": ("cpu", lambda: cases), "far": ("cuda", lambda: cases)},
            lambda: cases[::-1],
            measured,
            lambda row: "fine",
            lambda results: f"{len(results['rows'])} rows\n",
            lambda part: {"length": length},
        )
        seen.clear()
        monkeypatch.setattr("sys.argv", ["made_up", *arguments])
        return command.main("benchmarks.made_up", "Help.", lambda: suite, repeats=3)

    main.seen = seen
    return main


@pytest.fixture
def shared(tmp_path):
    return ["--results", str(tmp_path), "--threads", str(torch.get_num_threads())]


def test_a_dry_run_measures_once_and_writes_nothing(run, shared, tmp_path, capsys):
    assert run("run", "--dry", *shared) == 0
    assert run.seen == [("two", 1, "cpu", None), ("one", 1, "cpu", None)]
    assert run("run", "--dry", *shared, wrong="not timed") == 1
    assert "two: not timed" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_measured_is_refused_in_a_sentence(run, shared, tmp_path, capsys):
    assert run("run", "--part", "none", *shared) == 2
    assert "--part is 'none': give one of tiny, far, or --dry" in capsys.readouterr().err
    assert run("table", "--results", str(tmp_path)) == 2
    assert "holds no made_up_*.json: run a part first" in capsys.readouterr().err
    assert run("run", "--part", "tiny", "--repeats", "0") == 2
    assert "--repeats is 0: give 1 or more" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert run("run", "--part", "far", *shared) == 2
        assert "needs a CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_finished_rows_are_kept_and_missing_ones_measured(run, shared, tmp_path, capsys):
    assert run("run", "--part", "tiny", *shared) == 0
    assert run.seen == [("one", 3, "cpu", CEILING), ("two", 3, "cpu", CEILING)]
    file = tmp_path / "made_up_tiny.json"
    results = json.loads(file.read_text())
    assert {"command", "date", "commit", "device", "versions"} <= results["environment"].keys()
    assert results["ceilings"] == CEILING
    assert [row["name"] for row in results["rows"]] == ["one", "two"]

    results["rows"] = [{**results["rows"][0], "kept": True}]
    file.write_text(json.dumps(results))
    assert run("run", "--part", "tiny", "--repeats", "5", *shared) == 0
    assert run.seen == [("two", 5, "cpu", CEILING)]
    assert json.loads(file.read_text())["rows"][0]["kept"]
    assert run("table", "--results", str(tmp_path)) == 0
    assert "made_up_tiny\n\n2 rows" in capsys.readouterr().out

    assert run("run", "--part", "tiny", "--again", *shared) == 0
    assert [name for name, *_ in run.seen] == ["one", "two"]
    results["environment"]["device"] = {"type": "cpu", "name": "another", "threads": 1}
    file.write_text(json.dumps(results))
    assert run("run", "--part", "tiny", *shared) == 0
    assert [name for name, *_ in run.seen] == ["one", "two"]


def test_rows_without_times_are_measured_again(run, shared, capsys):
    assert run("run", "--part", "tiny", *shared, wrong="not timed") == 1
    assert run("run", "--part", "tiny", *shared, absent="no such library") == 0
    assert [name for name, *_ in run.seen] == ["two"]
    assert "two: not run: no such library" in capsys.readouterr().out
    assert run("run", "--part", "tiny", *shared) == 0
    assert [name for name, *_ in run.seen] == ["two"]
    assert run("run", "--part", "tiny", *shared) == 0
    assert run.seen == []


def test_rows_of_another_setting_are_not_kept(run, shared):
    assert run("run", "--part", "tiny", *shared) == 0
    assert run("run", "--part", "tiny", *shared, length=8) == 0
    assert [name for name, *_ in run.seen] == ["one", "two"]
