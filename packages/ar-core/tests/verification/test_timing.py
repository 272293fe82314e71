"""Timing passes: what is run, what counts, and what a busy machine must not do to the curve."""

import pytest
from ar_core.errors import ConfigError
from ar_core.verification import measure_pass_cost, measure_pass_costs


@pytest.fixture
def clock(monkeypatch):
    """Passes that take these times one after another; the last one for ever."""

    def set_to(*durations):
        readings = iter([reading for duration in durations for reading in (0.0, duration)])
        last = [0.0, durations[-1]]

        def read():
            last.reverse()
            return next(readings, last[1])

        monkeypatch.setattr("ar_core.verification.timing.perf_counter", read)

    return set_to


def test_every_width_is_timed_each_round_and_the_context_that_was_used_is_told(table_model, clock):
    clock(1.0)
    model = table_model(context_length=20)
    curve = measure_pass_cost(model, tokens=(1, 2, 4), context=256, batch=3, rounds=2)
    assert (curve.tokens, curve.seconds, curve.context) == ((1, 2, 4), (1.0, 1.0, 1.0), 16)
    assert model.passes == [(3, 16)] + [(3, 1), (3, 2), (3, 4)] * 3
    assert measure_pass_cost(table_model(), tokens=(1, 2), context=7, rounds=1).context == 7


def test_models_take_turns_and_get_their_own_curves(table_model, clock):
    clock(9, 9, 9, 9, 1.0, 2.0, 3.0, 5.0)
    curves = measure_pass_costs({"a": table_model(), "b": table_model()}, tokens=(1, 4), rounds=1)
    assert {name: curve.seconds for name, curve in curves.items()} == {"a": (1.0, 2.0), "b": (3.0, 5.0)}


def test_the_minimum_counts_and_the_first_round_does_not(table_model, clock):
    clock(1.0, 1.0, 5.0, 9.0, 7.0, 6.0)
    assert measure_pass_cost(table_model(), tokens=(1, 2), context=4, rounds=2).seconds == (5.0, 6.0)


def test_passes_of_fixed_shapes_are_run_twice_before(table_model, clock):
    clock(1.0, 1.0, 2.0, 2.0, 5.0, 6.0)
    model = table_model()
    model.engine = "graph"
    assert measure_pass_cost(model, tokens=(1, 2), context=4, rounds=1).seconds == (5.0, 6.0)


def test_a_wider_pass_bounds_a_narrower_one(table_model, clock):
    clock(0, 0, 0, 1.0, 1.4, 1.2)
    assert measure_pass_cost(table_model(), tokens=(1, 2, 4), rounds=1).seconds == (1.0, 1.2, 1.2)


@pytest.mark.parametrize("disturbed", [(1.0, 93.0, 2.0), (9.0, 1.5, 2.0)])
def test_a_disturbed_measurement_is_continued(table_model, clock, disturbed):
    clock(0, 0, 0, *disturbed, 1.1, 1.6, 2.1)
    cost = measure_pass_cost(table_model(), tokens=(1, 4, 32), rounds=1)
    assert cost.seconds == pytest.approx((min(1.1, disturbed[0]), min(1.6, disturbed[1]), 2.0))


@pytest.mark.parametrize("always", [(1.0, 93.0, 81.0, 40.0), (2.0, 1.0, 1.0, 1.0)])
def test_a_machine_that_stays_busy_is_said_and_gives_no_curve(table_model, clock, always):
    clock(0, 0, 0, 0, *always * 12)
    with pytest.raises(
        ConfigError, match=r"after 12 repetitions .* too busy with other work; try again when it is quiet"
    ):
        measure_pass_cost(table_model(), tokens=(1, 4, 16, 32), rounds=3)


def test_a_context_that_is_too_small_is_refused(table_model):
    with pytest.raises(ConfigError, match="a model with a context of 4, but at least one round and one cached token"):
        measure_pass_cost(table_model(context_length=4), tokens=(1, 4))
