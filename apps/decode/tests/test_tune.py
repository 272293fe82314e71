"""``tune``: the curve, what is tried, what is written."""

import itertools
import json

import pytest


def test_tune_writes_a_profile_that_decoders_read(ar_decode, plain_model, tmp_path):
    profile, statistics = tmp_path / "p.json", tmp_path / "s.json"
    outcome = ar_decode("tune", plain_model, "-o", profile, "--rounds", 2, "--context", 32)
    assert outcome.code == 0, outcome.err
    data = json.loads(profile.read_text())
    assert data["tokens"] == [1, 2, 4, 8, 16, 32]
    assert all(seconds > 0 for seconds in data["seconds"])
    assert data["context"] == 32
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


def test_tune_records_the_context_that_it_could_use(ar_decode, plain_model, tmp_path):
    profile = tmp_path / "p.json"
    assert ar_decode("tune", plain_model, "-o", profile, "--rounds", 1, "--context", 600).code == 0
    assert json.loads(profile.read_text())["context"] == 160 - 32


def test_tune_on_a_busy_machine_writes_nothing(ar_decode, plain_model, tmp_path, monkeypatch):
    profile, readings = tmp_path / "p.json", itertools.cycle((0.0, 1.0, 0.0, 93.0, 0.0, 2.0))
    monkeypatch.setattr("ar_core.verification.timing.perf_counter", lambda: next(readings))
    outcome = ar_decode("tune", plain_model, "-o", profile, "--rounds", 1)
    assert outcome.code == 2
    assert "too busy with other work; try again" in outcome.err
    assert not profile.exists()


def test_tune_keeps_a_given_draft_length(ar_decode, plain_model, tmp_path):
    profile = tmp_path / "p.json"
    tune = ("tune", plain_model, "-o", profile, "--rounds", 1, "--context", 16)
    outcome = ar_decode(*tune, "--set", "draft_length=3", "--set", "max_ngram=2")
    assert outcome.code == 0, outcome.err
    assert json.loads(profile.read_text())["methods"]["lookup"] == {"draft_length": 3, "max_ngram": 2}
    assert "Drafts of 3 were asked for" in outcome.out


@pytest.mark.parametrize(
    "spelling", [("--block-size", 4), ("--set", "diffusion_block_size=4"), ("--set", "block_size=4")]
)
def test_tune_varies_nothing_that_is_given(ar_decode, chat_model, jsonl, tmp_path, monkeypatch, spelling):
    pytest.importorskip("dlm_text")
    from ar_decode import tune as module

    tried, candidates = [], module.candidates
    monkeypatch.setattr(module, "candidates", lambda *how: tried.extend(candidates(*how)) or tried)
    profile = tmp_path / "p.json"
    tune = ("tune", chat_model, "-m", "fast_dllm_v2", "-o", profile, "--rounds", 1, "--context", 16, "-n", 9)
    given = (*spelling, "--set", "commit=fused", "--threshold", 0.8)
    outcome = ar_decode(*tune, "-i", jsonl({"prompt": "ab"}), *given)
    assert outcome.code == 0, outcome.err
    assert [(one.block_size, one.threshold) for one in tried] == [(4, 2.0), (4, 0.8)]
    assert all(one.method.options.commit == "fused" for one in tried)
    assert json.loads(profile.read_text())["methods"]["fast_dllm_v2"] == {
        "diffusion_block_size": 4,
        "commit": "fused",
        "threshold": 0.8,
    }


def test_every_pass_is_priced_by_its_own_width(chat_model):
    """Fused passes are 2D wide, those of the sub-block cache S, all others D; the prefill is left out."""
    pytest.importorskip("dlm_text")
    from ar_core.verification import PassCost
    from ar_decode.methods import Generation
    from ar_decode.session import load_session
    from ar_decode.tune import candidates, sweep

    session = load_session(str(chat_model))
    cost = PassCost((1, 4, 8, 16), (1.0, 3.0, 10.0, 100.0))
    widths = {}
    for kind, settings in {
        "plain": {},
        "fused": {"commit": "fused"},
        "cached": {"sub_block_cache": True},
    }.items():
        given = {**settings, "diffusion_block_size": 8, "sub_block_size": 4, "threshold": 1.5}
        tried = candidates(session, "fast_dllm_v2", given)
        prompts, generation = [[5] * 11, [7] * 8], Generation(16)
        (point,) = sweep(session, tried, prompts, cost, generation=generation, progress=lambda: None)
        decoded = [tried[1].method.decode(session, [ids], generation) for ids in prompts]
        forwards = sum((one.stats.forwards for one in decoded), start=type(decoded[0].stats.forwards)())
        passes = forwards.total() - forwards["prefill"]
        assert point.tokens_per_pass == pytest.approx(sum(len(one.tokens[0]) for one in decoded) / passes)
        assert point.agreement == 1, "no confidence reaches either threshold"
        widths[kind] = (point.cost * passes, passes, forwards["fused"])
    total, passes, _ = widths["plain"]
    assert total == pytest.approx(10 * passes)
    total, passes, fused = widths["fused"]
    assert fused > 0
    assert total == pytest.approx(100 * fused + 10 * (passes - fused))
    total, passes, _ = widths["cached"]
    assert 3 * passes < total < 10 * passes
    assert (10 * passes - total) % 7 == pytest.approx(0)


def test_the_tuned_point_is_the_fastest_that_agrees():
    from ar_core.verification import PassCost
    from ar_decode.tune import Point, choose_draft_length, choose_point

    cost = PassCost((1, 8, 32), (1.0, 1.5, 2.5))
    points = [Point(8, 0.9, 2.4, 1.5, 0.95), Point(8, 0.7, 3.3, 1.5, 0.6), Point(32, 0.9, 4.25, 2.5, 0.92)]
    best, reasons = choose_point(points, cost, agreement=0.9)
    assert best is points[2]
    assert best.speed == pytest.approx(1.7)
    assert "block size 32, threshold 0.9" in " ".join(reasons)
    strict, reasons = choose_point(points, cost, agreement=0.99)
    assert strict is points[0]
    assert "No setting keeps 99 %" in " ".join(reasons)
    _, reasons = choose_point([Point(8, 0.9, 1.2, 1.5, 1.0)], cost, agreement=0.9)
    assert "no gain" in reasons[-1]
    length, reasons = choose_draft_length(PassCost((1, 2, 4, 8), (1.0, 2.0, 4.0, 8.0)))
    assert length == 1
    assert "AR is the fastest method" in " ".join(reasons)
    length, reasons = choose_draft_length(PassCost((1, 16), (1.0, 1.0)))
    assert length == 15
