"""The pass-cost curve and the draft length it pays for."""

import pytest
from ar_core.errors import ConfigError
from ar_core.verification import TYPICAL_PASS_COST, DraftBudget, PassCost, measure_pass_cost

FREE = PassCost((1, 32), (1.0, 1.0))
PROPORTIONAL = PassCost((1, 2), (1.0, 2.0))


@pytest.mark.parametrize(("n", "ratio"), [(1, 1.0), (2, 1.5), (3, 1.75), (4, 2.0), (8, 4.0), (6, 3.0)])
def test_ratios_between_and_beyond_the_measured_points(n, ratio):
    assert PassCost((1, 2, 4), (2.0, 3.0, 4.0)).ratio(n) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [((1, 2), (1.0,)), ((2, 4), (1.0, 1.0)), ((1, 4, 4), (1.0, 1.0, 1.0)), ((1,), (0.0,)), ((), ())],
)
def test_a_curve_that_makes_no_sense_is_refused(tokens, seconds):
    with pytest.raises(ConfigError, match="needs increasing tokens from 1 on and one positive time for each"):
        PassCost(tokens, seconds)


def test_budget_is_the_best_ratio_of_expected_tokens_to_cost():
    """α starts at .8: 1 + E(k) = (1 − .8^(k+1)) / .2, against the typical curve."""
    drafts = [[5] * 12]
    gains = [(1 - 0.8 ** (k + 1)) / 0.2 / TYPICAL_PASS_COST.ratio(k + 1) for k in range(13)]
    assert DraftBudget(TYPICAL_PASS_COST, 1).limit([0], drafts) == gains.index(max(gains)) > 1


def test_budget_follows_acceptance_and_cost():
    budget = DraftBudget(FREE, 2)
    assert budget.limit([0, 1], [[], []]) == 0
    assert budget.limit([0, 1], [[1, 2, 3], [4]]) == 3
    assert DraftBudget(PROPORTIONAL, 1).limit([0], [[1, 2, 3]]) == 0


def test_useless_drafts_are_probed_every_sixteenth_time():
    budget = DraftBudget(TYPICAL_PASS_COST, 1)
    for _ in range(12):
        budget.record(0, 4, 0)
    limits = [budget.limit([0], [[1, 2, 3, 4]]) for _ in range(48)]
    assert [i for i, limit in enumerate(limits, 1) if limit] == [16, 32, 48]
    assert set(limits) == {0, 4}
    budget.record(0, 4, 4)
    budget.record(0, 4, 4)
    assert budget.limit([0], [[1, 2, 3, 4]]) > 0, "a proposer that has become useful is used again"


def test_passes_without_a_draft_do_not_count_towards_a_probe():
    budget = DraftBudget(PROPORTIONAL, 1)
    for _ in range(40):
        assert budget.limit([0], [[]]) == 0
    assert [budget.limit([0], [[1]]) for _ in range(16)] == [0] * 15 + [1]


def test_measuring_takes_every_length_each_round_and_shortens_the_context(table_model):
    model = table_model(context_length=20)
    curve = measure_pass_cost(model, tokens=(1, 2, 4), context=256, batch=3, rounds=2)
    assert curve.tokens == (1, 2, 4)
    assert all(seconds > 0 for seconds in curve.seconds)
    assert model.passes == [(3, 16)] + [(3, 1), (3, 2), (3, 4)] * 3


def test_the_minimum_counts_and_the_first_round_does_not(table_model, monkeypatch):
    durations = iter([1.0, 1.0, 5.0, 9.0, 7.0, 6.0])
    readings = (reading for duration in durations for reading in (0.0, duration))
    monkeypatch.setattr("ar_core.verification.pass_cost.time.perf_counter", lambda: next(readings))
    assert measure_pass_cost(table_model(), tokens=(1, 2), context=4, rounds=2).seconds == (5.0, 6.0)


def test_measuring_refuses_a_context_that_is_too_small(table_model):
    with pytest.raises(ConfigError, match="a model with a context of 4, but at least one round and one cached token"):
        measure_pass_cost(table_model(context_length=4), tokens=(1, 4))
