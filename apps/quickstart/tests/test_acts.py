from dataclasses import replace

import pytest
import torch
from ar_quickstart import model_act
from ar_quickstart.lossless import NotLosslessError
from ar_quickstart.model_act import METHODS, count_prompts, load_model, run_model_act
from ar_quickstart.page import render_page
from ar_quickstart.shipped import shipped_weights
from ar_quickstart.task_act import ARMS, run_task_act


@pytest.fixture
def tiny():
    return load_model(str(shipped_weights("ar")), torch.float32)


def test_act_one_solves_replays_and_converts(methods):
    ticks, said = [], []
    act = run_task_act(problems=6, live_steps=6, live_problems=3, report=said.append, tick=lambda: ticks.append(1))
    assert len(ticks) == 6 * ARMS == 6 * len(act.scores)
    assert act.scores["AR"].accuracy == 1.0
    converted = act.scores["converted, threshold 0.9"]
    assert converted.accuracy >= 5 / 6
    assert converted.stats.tokens_per_forward > 2
    assert act.scores["not converted, threshold 0.9"].accuracy <= 1 / 6
    assert [point.step for point in act.live] == [0, 1, 2, 3, 4, 5, 6]
    assert len(said) == 7
    assert {scene.title for scene in act.scenes} <= {"arithmetic", "extraction", "word problems"}
    for scene in act.scenes:
        autoregressive, parallel = scene.replays
        assert sum(len(one.positions) for one in autoregressive.passes) == len(autoregressive.tokens)
        assert len(parallel.passes) < len(autoregressive.passes)
    environment = {"command": "c", "date": "d", "device": {"name": "n", "threads": 1}, "versions": {}}
    assert "A conversion, live" in render_page(act, methods, None, environment, 1, recorded=(), offline=True)


def test_act_two_compares_token_by_token(tiny):
    ticks = []
    act = run_model_act(tiny, new_tokens=12, tick=lambda: ticks.append(1))
    assert len(ticks) == METHODS * count_prompts() == METHODS * len(act.answers)
    assert act.dtype == "float32"
    assert act.methods == ("AR", "n-gram lookup", "Jacobi")
    assert len(act.scenes) == 3
    assert act.total("AR").tokens_per_forward <= 1
    assert act.collapse("n-gram lookup") == act.collapse("AR")
    assert act.collapse("AR").mean_length <= 12


def test_a_method_that_changes_tokens_is_an_error_not_a_footnote(tiny, monkeypatch):
    honest = model_act.speculative

    def dishonest(*arguments, **options):
        decoded = honest(*arguments, **options)
        tokens = [(decoded.tokens[0][0] + 1) % 80, *decoded.tokens[0][1:]]
        return replace(decoded, tokens=[tokens])

    monkeypatch.setattr(model_act, "speculative", dishonest)
    with pytest.raises(NotLosslessError, match=r"n-gram lookup is not lossless on the prompt 'rewrite-1': step 0"):
        run_model_act(tiny, new_tokens=4, tick=lambda: None)
