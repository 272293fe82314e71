"""Quality against tokens per forward: curves from results of both kinds, in one figure."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ar_core.errors import DataError

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def quality(benchmark_module):
    return benchmark_module("quality")


def evaluated(method, points, *, task="gsm8k", sha="a"):
    rows = [{"name": "ar", "method": {"name": "ar"}, "accuracy": 0.8, "tokens_per_forward": 0.99}]
    rows += [
        {"name": f"{method} threshold={n}", "method": {"name": method}, "accuracy": y, "tokens_per_forward": x}
        for n, (x, y) in enumerate(points)
    ]
    return {"kind": "eval", "task": task, "data": {"sha256": sha}, "rows": rows}


@pytest.fixture
def files(tmp_path):
    def write(*results):
        paths = [tmp_path / f"{number}.json" for number in range(len(results))]
        for path, result in zip(paths, results, strict=True):
            path.write_text(result if isinstance(result, str) else json.dumps(result))
        return paths

    return write


def test_all_methods_are_in_one_figure_and_ar_once(quality, files):
    paths = files(evaluated("one", [(3, 0.7), (2, 0.78)]), evaluated("two", [(4, 0.6), (1.5, 0.79)]))
    found = quality.curves(quality.read(paths))
    assert [curve.name for curve in found] == ["ar", "one", "two"]
    assert found[1].points == ((2, 0.78), (3, 0.7))
    root = ElementTree.fromstring(quality.figure(found))
    assert len(list(root.iter(f"{SVG}circle"))) == 2 * 3
    assert len([line for line in root.iter(f"{SVG}polyline") if "stroke-dasharray" in line.attrib]) == 1


def test_table_gives_aup_with_the_best_of_all(quality, files):
    found = quality.curves(quality.read(files(evaluated("one", [(2, 0.8), (1, 0.8)]))))
    assert "| one | 160.0 | 1.00, 80.0 % | 2.00, 80.0 % |" in quality.markdown_table(found)


def test_passes_of_another_model_that_drafts_are_told_apart(quality, files):
    drafting = evaluated("two", [(4, 0.6), (0.9, 0.8)])
    drafting["rows"][1] |= {"nfe": 10, "drafts": {"drafter": {"forwards": 30}}}
    drafting["rows"][2] |= {"nfe": 40}
    found = {curve.name: curve.points for curve in quality.curves(quality.read(files(drafting)))}
    assert found["two, verifier's passes"] == ((0.9, 0.8), (4, 0.6))
    assert found["two, drafter's too"] == ((0.9, 0.8), (1.0, 0.6))
    assert "two" not in found


def test_seeds_of_the_task_benchmark_are_averaged(quality):
    paths = sorted((ROOT / "benchmarks" / "results").glob("tasks_fast_dllm_v2_seed*.json"))
    found = quality.curves(quality.read(paths))
    names = [curve.name for curve in found]
    assert names[:2] == ["AR base", "AR control"]
    assert "fast_dllm_v2 D=8 fused" in names
    curve = found[names.index("fast_dllm_v2 D=8 fused")]
    rows = [json.loads(path.read_text())["rows"] for path in paths]
    assert len(curve.points) == len([row for row in rows[0] if row["name"].startswith("D=8 fused threshold")]) > 2
    same = [row["accuracy"] for seed in rows for row in seed if row["name"] == "D=8 fused threshold 0.9"]
    assert any(y == pytest.approx(sum(same) / len(same)) for _, y in curve.points)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "eval"}'])
def test_another_kind_of_file_is_refused(quality, files, text):
    with pytest.raises(DataError, match="is no result of"):
        quality.read(files(text))


def test_missing_files_other_tasks_and_other_problems_are_refused(quality, files, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        quality.read([tmp_path / "nowhere.json"])
    for other in (evaluated("two", [(2, 0.7)], task="mbpp"), evaluated("two", [(2, 0.7)], sha="b")):
        with pytest.raises(DataError, match="a figure shows one task"):
            quality.read(files(evaluated("one", [(2, 0.7)]), other))
    bare = evaluated("one", [])
    del bare["rows"][0]["accuracy"]
    with pytest.raises(DataError, match="has no accuracies"):
        quality.read(files(bare))


def test_command_writes_figure_and_table(quality, files, tmp_path, monkeypatch, capsys):
    paths = files(evaluated("one", [(2, 0.7)]))
    monkeypatch.setattr("sys.argv", ["quality", *map(str, paths), "--output", str(tmp_path / "q")])
    assert quality.main() == 0
    assert (tmp_path / "q.md").read_text() == capsys.readouterr().out
    assert (tmp_path / "q.svg").read_text().startswith("<svg")
    monkeypatch.setattr("sys.argv", ["quality", "no.json", "--output", str(tmp_path / "q")])
    assert quality.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
