"""The pass-cost curve and the draft length it pays for."""

import pytest
from ar_core.errors import ConfigError
from ar_core.verification import TYPICAL_PASS_COST, Draft, DraftBudget, PassCost

FREE = PassCost((1, 32), (1.0, 1.0))
PROPORTIONAL = PassCost((1, 2), (1.0, 2.0))


@pytest.mark.parametrize(("n", "ratio"), [(1, 1.0), (2, 1.5), (3, 1.75), (4, 2.0), (8, 4.0), (6, 3.0)])
def test_ratios_between_and_beyond_the_measured_points(n, ratio):
    curve = PassCost((1, 2, 4), (2.0, 3.0, 4.0))
    assert curve.ratio(n) == pytest.approx(ratio)
    assert curve.time(n) == pytest.approx(2 * ratio)


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


def test_a_tree_is_limited_in_depth_and_pays_for_all_its_tokens():
    """Three levels of 1, 9 and 1 tokens: at a cost of one third a token the second level is too dear, and so is the third."""
    tree = Draft([1, *range(9), 5], [-1, *[0] * 9, 1])
    third = PassCost((1, 4), (1.0, 2.0))
    assert DraftBudget(third, 1).limit([0], [Draft([1, 2, 3])]) == 3
    assert DraftBudget(third, 1).limit([0], [tree]) == 1
    assert DraftBudget(FREE, 1).limit([0], [tree]) == 3
    assert DraftBudget(PROPORTIONAL, 1).limit([0], [tree]) == 0
