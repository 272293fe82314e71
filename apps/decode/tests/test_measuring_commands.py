"""``bench``, ``tune``, ``trace`` and ``verify`` on tiny checkpoints."""

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


def test_bench_takes_each_sides_fastest_dtype():
    from ar_core.verification import PassCost
    from ar_decode.bench import fastest_dtype

    curves = {"float32": PassCost((1, 8), (1.0, 4.0)), "bfloat16": PassCost((1, 8), (2.0, 3.0))}
    assert fastest_dtype(curves, 1) == "float32"
    assert fastest_dtype(curves, 8) == "bfloat16"


def test_a_method_whose_distinct_3_fell_is_marked():
    from ar_decode.bench import bench_table
    from ar_decode.collapse import Collapse

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
    assert "does not count" in str(bench_table({**result, "collapsed": True}).caption)
    table = bench_table({**result, "collapsed": False})
    assert table.caption is None
    assert list(table.columns[2].cells)[-1] == "0.25"


def test_tune_writes_a_profile_that_decoders_read(ar_decode, plain_model, tmp_path):
    profile, statistics = tmp_path / "p.json", tmp_path / "s.json"
    outcome = ar_decode("tune", plain_model, "-o", profile, "--rounds", 2, "--context", 32)
    assert outcome.code == 0, outcome.err
    data = json.loads(profile.read_text())
    assert data["tokens"] == [1, 2, 4, 8, 16, 32]
    assert all(seconds > 0 for seconds in data["seconds"])
    length = data["methods"]["lookup"]["draft_length"]
    assert f"drafts of {length} are worth most" in outcome.out or "No draft length pays" in outcome.out
    assert data["explanation"] == outcome.out.strip().splitlines()
    text = ("text", plain_model, "Hi", "-n", 4, "-m", "lookup", "--profile", profile, "--statistics", statistics)
    assert ar_decode(*text).code == 0
    used = json.loads(statistics.read_text())["method"]
    assert used["draft_length"] == length
    assert used["pass_cost"]["seconds"] == data["seconds"]
    assert ar_decode(*text, "--force", "--draft-length", 2).code == 0
    assert json.loads(statistics.read_text())["method"]["draft_length"] == 2, "the user's word goes before the profile"


def test_tune_tries_a_block_method_on_prompts(ar_decode, chat_model, jsonl, tmp_path):
    pytest.importorskip("dlm_text")
    profile = tmp_path / "p.json"
    common = ("tune", chat_model, "-m", "fast_dllm_v2", "-o", profile, "--rounds", 1, "--context", 16, "-n", 9)
    refused = ar_decode(*common)
    assert (refused.code, "is tuned on prompts" in refused.err) == (2, True)
    outcome = ar_decode(*common, "-i", jsonl({"prompt": "ab"}, {"prompt": "cd ef"}), "--block-size", 4)
    assert outcome.code == 0, outcome.err
    tuned = json.loads(profile.read_text())["methods"]["fast_dllm_v2"]
    assert tuned["diffusion_block_size"] == 4
    assert tuned["threshold"] in (0.99, 0.95, 0.9, 0.8, 0.7)
    text = ("text", chat_model, "Hi", "-n", 4, "-m", "fast_dllm_v2", "--profile", profile)
    assert ar_decode(*text).code == 0


def test_the_tuned_point_is_the_fastest_that_agrees():
    from ar_core.verification import PassCost
    from ar_decode.tune import Point, choose_draft_length, choose_point

    cost = PassCost((1, 8, 32), (1.0, 1.5, 2.5))
    points = [Point(8, 0.9, 2.4, 1.6, 0.95), Point(8, 0.7, 3.3, 2.2, 0.6), Point(32, 0.9, 4.0, 1.6 + 0.1, 0.92)]
    best, reasons = choose_point(points, cost, agreement=0.9)
    assert best is points[2]
    assert "block size 32, threshold 0.9" in " ".join(reasons)
    strict, reasons = choose_point(points, cost, agreement=0.99)
    assert strict is points[0]
    assert "No setting keeps 99 %" in " ".join(reasons)
    _, reasons = choose_point([Point(8, 0.9, 1.2, 0.8, 1.0)], cost, agreement=0.9)
    assert "no gain" in reasons[-1]
    length, reasons = choose_draft_length(PassCost((1, 2, 4, 8), (1.0, 2.0, 4.0, 8.0)))
    assert length == 1
    assert "AR is the fastest method" in " ".join(reasons)
    length, reasons = choose_draft_length(PassCost((1, 16), (1.0, 1.0)))
    assert length == 15
    _, reasons = choose_draft_length(PassCost((1, 16), (1.0, 0.1)))
    assert "disturbed" in reasons[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_verify_passes_on_a_sound_model(ar_decode, chat_model, tmp_path, dtype):
    target = tmp_path / "report.json"
    outcome = ar_decode("verify", chat_model, "--dtype", dtype, "-n", 9, "-o", target)
    assert outcome.code == 0, outcome.err
    report = json.loads(target.read_text())
    assert report["passed"]
    assert len(report["checks"]) == 15
    assert report["dtype"] == dtype
    assert report["config"]["hidden_size"] == 32
    assert report["environment"]["versions"]["torch"]


def test_verify_prints_markdown_for_a_bug_tracker(ar_decode, plain_model):
    outcome = ar_decode("verify", plain_model, "-n", 5)
    assert outcome.code == 0
    assert outcome.out.startswith("## ar-decode verify: passed")
    assert "| cached = uncached | 0 | ok |" in outcome.out
    assert '"hidden_size": 32' in outcome.out


def test_verify_finds_a_cache_that_forgets(ar_decode, plain_model, monkeypatch):
    from ar_core.cache import WindowedKVCache

    update = WindowedKVCache.update

    def forgetful(cache, layer, k, v):
        keys, values = update(cache, layer, k, v)
        return keys, values.roll(1, 2)

    monkeypatch.setattr(WindowedKVCache, "update", forgetful)
    outcome = ar_decode("verify", plain_model, "-n", 5)
    assert outcome.code == 1
    assert outcome.out.startswith("## ar-decode verify: FAILED")
    assert "**differs**" in outcome.out


def test_trace_writes_one_self_contained_page(ar_decode, plain_model, tmp_path):
    page = tmp_path / "replay.html"
    assert (
        ar_decode("trace", plain_model, "ab ab ab", "x </script> y", "-o", page, "-n", 11, "--draft-length", 3).code
        == 0
    )
    text = page.read_text(encoding="utf-8")
    for forbidden in ("http://", "https://", "src=", "href=", "@import", "url("):
        assert forbidden not in text
    assert "default-src 'none'" in text
    start = text.index('class="data">') + len('class="data">')
    scenes = json.loads(text[start : text.index("</script>", start)])
    assert [scene["prompt"] for scene in scenes] == ["ab ab ab", "x </script> y"]
    for scene in scenes:
        assert [replay["name"] for replay in scene["replays"]] == ["ar", "lookup"]
        for replay in scene["replays"]:
            fixed = sorted(at for one in replay["passes"] for at in one["positions"])
            assert fixed == list(range(len(replay["tokens"])))
        assert "".join(scene["replays"][0]["tokens"]) == "".join(scene["replays"][1]["tokens"])
