"""Tallies against figures worked out by hand."""

import json

import pytest
from ar_core.decoding import DecodeStats
from ar_core.evaluation import Tally


def record(name, tokens, seconds, *, correct=None, category="", forwards=None, accepted=None, values=None):
    stats = DecodeStats(generated=[len(tokens)])
    for phase, times in (forwards or {"prefill": 1, "verify": 2}).items():
        stats.forwards[phase] = stats.row_forwards[phase] = times
        stats.seconds[phase] = 0.1 * times
    stats.accepted.update(accepted or {})
    return {
        "id": name,
        "category": category,
        "correct": correct,
        "values": values or {},
        "tokens": tokens,
        "finish": "length",
        "seconds": seconds,
        "stats": json.loads(json.dumps(stats.to_dict())),
    }


def test_statistics_survive_json():
    stats = DecodeStats(generated=[3])
    with stats.forward("verify", 2, 5):
        pass
    stats.accept(3)
    stats.judge(4, 2)
    stats.drafter.update(forwards=1, tokens=9)
    again = DecodeStats.from_dict(json.loads(json.dumps(stats.to_dict())))
    assert again == stats


def test_rates_are_of_totals_and_generated_tokens_only():
    tally = Tally(
        [
            record("1", [1] * 6, 1.0, correct=True, category="a", accepted={1: 1, 2: 1, 3: 1}),
            record("2", [1] * 3, 2.0, correct=False, category="b", accepted={1: 3}),
        ]
    )
    figures = tally.to_dict()
    assert figures["tokens_per_forward"] == pytest.approx(9 / 6)
    assert figures["tokens_per_forward_by_category"] == {"a": 2.0, "b": 1.0}
    assert figures["tokens_per_second"] == pytest.approx(3.0)
    assert figures["nfe"] == 6
    assert figures["accuracy"] == 0.5
    assert figures["standard_error"] == pytest.approx(0.5 / 2**0.5)
    assert figures["accuracy_by_category"] == {"a": 1.0, "b": 0.0}
    # Four rounds behind the two prefills: 2 + 3 and 1 + 1 tokens.
    assert figures["committed_per_round"] == pytest.approx(7 / 4)
    assert figures["accepted_draft_per_round"] == pytest.approx(3 / 4)


def test_phases_come_in_their_order_and_add_up_to_the_wall_clock():
    forwards = {"step": 1, "verify": 1, "prefill": 1, "draft": 2, "search": 1}
    split = Tally([record("1", [1], 1.0, forwards=forwards)]).to_dict()["seconds_by_phase"]
    assert list(split) == ["prefill", "draft", "search", "verify", "step", "outside"]
    assert sum(split.values()) == pytest.approx(1.0)
    assert split["outside"] == pytest.approx(0.4)


def test_acceptance_of_drafts_by_position():
    one, other = (record(name, [1], 1.0) for name in "12")
    one["stats"] |= {"drafted_at": {"1": 4, "2": 2}, "accepted_at": {"1": 3, "2": 1}}
    other["stats"] |= {"drafted_at": {"1": 4}, "accepted_at": {}}
    assert Tally([one, other]).to_dict()["drafts"] == {
        "judged": 8,
        "mean_length": 10 / 8,
        "mean_accepted": 4 / 8,
        "acceptance_at": {"1": 3 / 8, "2": 1 / 2},
        "drafter": {},
    }


def test_without_right_answers_there_is_no_accuracy():
    assert "accuracy" not in Tally([record("1", [1], 1.0)]).to_dict()


def test_one_token_decoders_have_no_rounds():
    assert "committed_per_round" not in Tally([record("1", [1], 1.0, forwards={"prefill": 1, "step": 3})]).to_dict()


def test_values_are_averaged_where_there_are_any():
    tally = Tally([record("1", [1], 1.0, values={"strict": 1.0}), record("2", [1], 1.0, values={"strict": 0.0})])
    assert tally.to_dict()["strict"] == 0.5


def test_speed_both_ways_and_identity_against_a_baseline():
    base = Tally([record("1", [1, 2], 1.0), record("2", [3, 4], 4.0)])
    mine = Tally([record("1", [1, 2], 0.5), record("2", [3, 5], 4.0)])
    figures = mine.against(base)
    assert figures["speed"] == pytest.approx((4 / 4.5) / (4 / 5))
    assert figures["speed_mean_of_problems"] == pytest.approx((2 + 1) / 2)
    assert figures["identical"] == 0.5


def test_speed_is_that_of_the_problems_that_both_have():
    base = Tally([record("1", [1, 2], 1.0)])
    mine = Tally([record("1", [1, 2], 0.5), record("2", [3] * 9, 90.0)])
    assert mine.against(base)["speed"] == pytest.approx(2)
    assert mine.against(Tally([record("3", [1], 1.0)])) == {}


def test_a_problem_done_twice_counts_once():
    assert Tally([record("1", [1], 1.0), record("1", [1], 1.0)]).to_dict()["problems"] == 1
