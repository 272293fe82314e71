"""AUP against values worked out by hand."""

import math

import pytest
from ar_core.errors import ConfigError
from ar_core.evaluation import accuracy_under_parallelism


def test_one_token_per_pass_gives_the_accuracy_in_percent():
    assert accuracy_under_parallelism([(1.0, 0.62)]) == pytest.approx(62.0)


def test_plain_area_at_constant_accuracy_is_a_rectangle():
    assert accuracy_under_parallelism([(1, 0.8), (2, 0.8), (4, 0.8)]) == pytest.approx(100 * 4 * 0.8)


def test_trapezoids_with_weights_by_hand():
    weight = math.exp(-3 * (1 - 0.77 / 0.8))
    expected = 1 * 0.8 + (3 - 1) * (0.77 * weight + 0.8) / 2
    assert accuracy_under_parallelism([(3, 0.77), (1, 0.8)]) == pytest.approx(100 * expected)
    plain = 1 * 0.8 + (3 - 1) * (0.77 + 0.8) / 2
    assert accuracy_under_parallelism([(3, 0.77), (1, 0.8)], penalty=0) == pytest.approx(100 * plain)


def test_points_beyond_the_tolerance_do_not_count_and_one_at_it_does():
    kept = accuracy_under_parallelism([(1, 0.80), (2, 0.75)], penalty=0)
    assert kept == pytest.approx(100 * (0.80 + (0.80 + 0.75) / 2))
    assert accuracy_under_parallelism([(1, 0.80), (2, 0.75), (9, 0.7499)], penalty=0) == pytest.approx(kept)
    assert accuracy_under_parallelism([(1, 0.80), (9, 0.5)]) == pytest.approx(80.0)


def test_a_better_rival_lowers_the_weights():
    points = [(1, 0.7), (3, 0.7)]
    weight = math.exp(-3 * (1 - 0.7 / 0.9))
    assert accuracy_under_parallelism(points, best=0.9) == pytest.approx(100 * (0.7 + 2 * 0.7 * weight))
    assert accuracy_under_parallelism(points, best=0.9) < accuracy_under_parallelism(points)


def test_order_and_repeats_do_not_matter():
    points = [(1, 0.8), (2, 0.79), (3, 0.78)]
    assert accuracy_under_parallelism([*points[::-1], (2, 0.1)]) == accuracy_under_parallelism(points)


def test_zero_accuracy_is_zero():
    assert accuracy_under_parallelism([(1, 0.0), (4, 0.0)]) == 0.0


@pytest.mark.parametrize(
    ("points", "options"),
    [([], {}), ([(0, 0.5)], {}), ([(1, 1.5)], {}), ([(1, 0.5)], {"penalty": -1}), ([(1, 0.5)], {"best": 0})],
)
def test_what_is_out_of_range_is_refused(points, options):
    with pytest.raises(ConfigError):
        accuracy_under_parallelism(points, **options)
