import pytest
from ar_core.evaluation import acceptance_by_position


def test_survival_and_conditional_acceptance_by_hand():
    found = acceptance_by_position({1: 4, 2: 3, 5: 1, 0: 2})
    assert [one.position for one in found] == [1, 2, 3, 4, 5]
    assert [one.reached for one in found] == pytest.approx([0.8, 0.4, 0.1, 0.1, 0.1])
    assert [one.given_previous for one in found] == pytest.approx([0.8, 0.5, 0.25, 1.0, 1.0])


def test_shares_add_up_to_the_tokens_of_a_pass():
    accepted = {1: 5, 3: 2, 4: 7}
    mean = sum(n * times for n, times in accepted.items()) / sum(accepted.values())
    assert sum(one.reached for one in acceptance_by_position(accepted)) == pytest.approx(mean)


def test_nothing_accepted_gives_nothing():
    assert acceptance_by_position({}) == []
    assert acceptance_by_position({0: 3}) == []
