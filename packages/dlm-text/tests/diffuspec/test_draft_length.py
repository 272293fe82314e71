"""Oracle 9: the paper's controller in closed form and against a recorded trace; the goodput policy."""

import json

import pytest
from dlm_text.diffuspec.adaptive_length import AdaptiveLength
from dlm_text.diffuspec.goodput import Goodput


@pytest.mark.parametrize("rho", [0.1, 0.5, 1.0])
def test_a_constant_length_in_closed_form(rho):
    policy = AdaptiveLength(minimum=1, maximum=30, smoothing=rho)
    policy.begin(1)
    for t in range(1, 30):
        policy.update(0, generated=17, judged=17, accepted=4)
        generated, accepted = policy.averages(0)
        assert generated == pytest.approx(17 * (1 - (1 - rho) ** t), abs=1e-9)
        assert accepted == pytest.approx(4 * (1 - (1 - rho) ** t), abs=1e-9)


def test_the_published_constants_give_thirty_once_and_then_twenty():
    policy = AdaptiveLength()
    policy.begin(1)
    lengths = []
    for _ in range(12):
        lengths.append(policy.next(0, 50))
        policy.update(0, generated=lengths[-1], judged=lengths[-1], accepted=7)
    assert lengths == [30] + [20] * 11


def test_full_acceptance_adds_the_growth_step():
    policy = AdaptiveLength(minimum=2, maximum=30, growth=10)
    policy.begin(1)
    average = 0.0
    for _ in range(8):
        k = policy.next(0, 50)
        policy.update(0, generated=k, judged=k, accepted=k)
        average = (average + k) / 2
        assert policy.next(0, 50) == min(max(int(average + 10 + 0.5), 2), 30)


def test_bias_correction_starts_at_the_first_value():
    policy = AdaptiveLength(minimum=1, maximum=30, growth=0, bias_correction=True)
    policy.begin(2)
    policy.update(0, generated=9, judged=9, accepted=2)
    assert policy.averages(0) == (9, 2)
    assert policy.next(0, 50) == 9
    # The other row has seen nothing.
    assert policy.next(1, 50) == 30


@pytest.mark.golden
def test_the_recorded_controller(golden_dir):
    for case in json.loads((golden_dir / "jacobi" / "diffuspec" / "adl.json").read_text())["cases"]:
        policy = AdaptiveLength(
            minimum=case["k_min"],
            maximum=case["k_max"],
            growth=case["delta"],
            smoothing=case["rho"],
            rounding="floor",
        )
        policy.begin(1)
        for step in case["trace"]:
            assert policy.next(0, 0) == step["k"]
            policy.update(0, generated=step["l_gen"], judged=step["k"], accepted=step["l_acc"])
            assert policy.averages(0) == pytest.approx((step["ema_gen"], step["ema_acc"]), abs=1e-9)
            assert policy.next(0, 0) == step["next_k"]


def goodput(draft=0.0, minimum=1, maximum=8):
    policy = Goodput(
        minimum=minimum, maximum=maximum, draft_seconds=lambda j, k: draft, verify_seconds=lambda k: 1 + 0.02 * k
    )
    policy.begin(2)
    return policy


def test_goodput_is_the_best_of_all_lengths():
    policy = goodput(draft=0.4)
    for _ in range(40):
        policy.update(0, generated=8, judged=8, accepted=3)
    rates = {0: 1.0}
    expected, reached = 0.0, 1.0
    for k in range(1, 9):
        a = [policy._right[0][i] / (policy._right[0][i] + policy._wrong[0][i]) for i in range(k)]
        reached *= a[-1]
        expected += reached
        rates[k] = (1 + expected) / (0.4 + 1 + 0.02 * k)
    assert policy.next(0, 50) == max(rates, key=rates.__getitem__) == 3


def test_goodput_does_without_a_drafter_that_costs_more_than_it_gives():
    policy = goodput(draft=5.0)
    lengths = [policy.next(0, 50) for _ in range(33)]
    # Every 16th round looks whether that is still so.
    assert [i for i, k in enumerate(lengths) if k] == [15, 31]
    assert lengths[15] == 1


def test_goodput_forgets_and_rows_are_separate():
    policy = goodput(draft=0.3)
    for _ in range(30):
        policy.update(0, generated=8, judged=8, accepted=0)
    assert policy.next(0, 50) == 0
    assert policy.next(1, 50) == 8
    for _ in range(30):
        policy.update(0, generated=8, judged=8, accepted=8)
    assert policy.next(0, 50) == 8
