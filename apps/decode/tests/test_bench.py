"""``bench``: both arms, their passes, their outputs."""

import json

import pytest


def test_bench_reports_both_arms_and_where_it_was_measured(ar_decode, plain_model, jsonl, tmp_path):
    lines = [
        {"prompt": f"{word} {word} {word}", "category": c} for c in ("b", "a") for word in ("red", "blue", "green")
    ]
    source, target = jsonl(*lines, {"prompt": "z" * 200, "category": "long"}), tmp_path / "r.json"
    outcome = ar_decode(
        *("bench", plain_model, "-i", source, "--per-category", 2, "-n", 12, "--rounds", 2, "-o", target),
        *("--set", "fallback=false", "--dtype", "float32"),
    )
    assert outcome.code == 0, outcome.err
    result = json.loads(target.read_text())
    assert result["data"]["ids"] == ["4", "5", "1", "2"], "first two of each category that fit, categories together"
    baseline, candidate = result["baseline"], result["candidate"]
    assert baseline["tokens_per_forward"] == 1
    assert baseline["drafts"] == {}
    assert candidate["drafts"]["judged"] > 0
    assert baseline["nfe"] == baseline["generated_tokens"]
    assert candidate["nfe"] <= baseline["nfe"]
    assert len(baseline["seconds"]) == len(candidate["seconds"]) == 2
    assert result["identical"] == 1
    assert result["first_differences"] == []
    assert not result["collapsed"]
    assert set(candidate["tokens_per_forward_by_category"]) == {"a", "b"}
    speeds = [arm["generated_tokens"] / min(arm["seconds"]) for arm in (baseline, candidate)]
    assert result["speedup"] == pytest.approx(speeds[1] / speeds[0])
    assert result["pass_cost"]["tokens"] == 8
    assert candidate["method"]["pass_cost"] == result["pass_cost"]["curve"]
    for key in ("command", "date", "commit", "device", "versions"):
        assert key in result
    assert "speed against AR" in outcome.out
    assert "distinct-3" in outcome.out


def test_bench_alternates_the_arms(ar_decode, plain_model, jsonl, tmp_path, monkeypatch):
    from ar_decode.bench import Arm

    order, run = [], Arm.run
    monkeypatch.setattr(Arm, "run", lambda arm, *how: (order.append(arm.method.name), run(arm, *how)))
    bench = ("bench", plain_model, "-i", jsonl({"prompt": "x"}), "-n", 4, "--dtype", "float32", "--rounds", 2)
    assert ar_decode(*bench, "-o", tmp_path / "r.json").code == 0
    assert order == ["ar", "lookup", "lookup", "ar"]


def test_bench_compares_no_sampled_outputs(ar_decode, plain_model, jsonl, tmp_path):
    target = tmp_path / "r.json"
    bench = ("bench", plain_model, "-i", jsonl({"prompt": "x"}), "-n", 4, "--dtype", "float32", "--rounds", 1)
    outcome = ar_decode(*bench, "-o", target, "-t", 0.9)
    assert outcome.code == 0, outcome.err
    assert not {"identical", "first_differences"} & set(json.loads(target.read_text()))
    assert "identical" not in outcome.out


def test_bench_reports_the_curve_of_its_own_run(ar_decode, plain_model, jsonl, tmp_path):
    profile, target = tmp_path / "p.json", tmp_path / "r.json"
    assert ar_decode("tune", plain_model, "-o", profile, "--rounds", 1).code == 0
    data = json.loads(profile.read_text())
    data["seconds"] = [7.0 + n for n in range(len(data["seconds"]))]
    profile.write_text(json.dumps(data))
    bench = ("bench", plain_model, "-i", jsonl({"prompt": "x"}), "-n", 4, "--rounds", 1, "--profile", profile)
    outcome = ar_decode(*bench, "-o", target)
    assert outcome.code == 0, outcome.err
    report = json.loads(target.read_text())
    assert report["candidate"]["dtype"] == "float32", "a profile speaks of its own dtype"
    assert report["candidate"]["method"]["pass_cost"]["seconds"] == data["seconds"]
    curve = report["pass_cost"]["curve"]
    assert curve["seconds"] == list(report["seconds_per_pass"]["float32"].values())
    assert max(curve["seconds"]) < 1
    width = report["pass_cost"]["tokens"]
    assert width == data["methods"]["lookup"]["draft_length"] + 1


def test_the_cost_of_a_pass_is_against_ars_own_pass_in_ars_dtype():
    from ar_core.verification import PassCost
    from ar_decode.bench import pass_cost_report

    curves = {"float32": PassCost((1, 8), (1.0, 4.0)), "bfloat16": PassCost((1, 8), (2.0, 3.0), 64)}
    report = pass_cost_report(curves, "float32", "bfloat16", 8)
    assert report == {
        "tokens": 8,
        "ratio": 3.0,
        "curve": {"tokens": [1, 8], "seconds": [2.0, 3.0], "context": 64},
    }


def test_a_fused_commit_makes_passes_of_two_blocks(ar_decode, chat_model, jsonl, tmp_path):
    pytest.importorskip("dlm_text")
    target = tmp_path / "r.json"
    bench = ("bench", chat_model, "-m", "fast_dllm_v2", "-i", jsonl({"prompt": "x"}), "-n", 12, "--dtype", "float32")
    outcome = ar_decode(*bench, "--rounds", 1, "--set", "commit=fused", "-o", target)
    assert outcome.code == 0, outcome.err
    report = json.loads(target.read_text())["pass_cost"]
    assert report["tokens"] == 16
    assert report["curve"]["tokens"] == [1, 2, 4, 8, 16]


def test_bench_takes_each_sides_fastest_dtype():
    from ar_core.verification import PassCost
    from ar_decode.bench import fastest_dtype

    curves = {"float32": PassCost((1, 8), (1.0, 4.0)), "bfloat16": PassCost((1, 8), (2.0, 3.0))}
    assert fastest_dtype(curves, 1) == "float32"
    assert fastest_dtype(curves, 8) == "bfloat16"


def test_a_method_whose_distinct_3_fell_is_marked():
    from ar_core.decoding.collapse import Collapse
    from ar_decode.bench import bench_table

    baseline = Collapse(0.8, 3, 1, 10)
    assert Collapse(0.71, 9, 0, 10).collapsed(baseline)
    assert not Collapse(0.73, 9, 0, 10).collapsed(baseline)
    arm = {"method": {"name": "m"}, "dtype": "float32", "tokens_per_forward": 1.0, "nfe": 1, "generated_tokens": 1}
    arm |= {"tokens_per_second": 1.0, "collapse": vars(baseline)}
    result = {
        "baseline": arm,
        "candidate": arm,
        "speedup": 1.0,
        "pass_cost": {"tokens": 8, "ratio": 1.5},
        "identical": 0.0,
        "first_differences": [{"margin": 0.25}, {"margin": 0.125}],
    }
    endless = {**result, "collapsed": False, "first_differences": [{"margin": 0.25}, {"margin": None}]}
    assert list(bench_table(endless).columns[2].cells)[-1] == "no bound"
    assert "does not count" in str(bench_table({**result, "collapsed": True}).caption)
    table = bench_table({**result, "collapsed": False})
    assert table.caption is None
    assert list(table.columns[2].cells)[-1] == "0.25"
