"""How many scales a step sees, and how warm each is drawn: points 9 and 10 of the oracles, and the counts of codes that the method computes."""

from collections import Counter

import pytest
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_vision.ecm.prefix_law import PrefixLaw
from ar_vision.ecm.temperature import temperatures
from ar_vision.scales import ScaleSchedule
from scipy.stats import chisquare

PUBLISHED = ScaleSchedule.square(1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
LAWS = {
    "uniform": PrefixLaw(p_full=0.0),
    "geometric 0.2": PrefixLaw(law="geometric", strength=0.2, p_full=0.0),
    "geometric 0.3": PrefixLaw(law="geometric", strength=0.3, p_full=0.0),
    "normal": PrefixLaw(law="normal", mean=4, deviation=2, p_full=0.1),
    "default": PrefixLaw(),
    "full": PrefixLaw(law="full"),
}


def expected_codes(law, schedule=PUBLISHED):
    return sum(seen * length for seen, length in zip(law.seen(schedule.count), schedule.lengths))


@pytest.mark.parametrize(
    ("name", "codes"), [("uniform", 171), ("geometric 0.2", 83), ("geometric 0.3", 55), ("default", 298), ("full", 680)]
)
def test_codes_of_a_step_are_cut_by_what_the_method_computes(name, codes):
    """Section 3.4: 25, 12, 8 and 44 % of 680 on average."""
    assert expected_codes(LAWS[name]) == pytest.approx(codes, abs=0.7)


def test_a_strong_law_hardly_shows_the_last_scale():
    assert LAWS["geometric 0.3"].seen(10)[-1] == pytest.approx(0.018, abs=5e-4)
    assert PrefixLaw().seen(10)[-1] == pytest.approx(0.25 + 0.075)


@pytest.mark.parametrize("name", LAWS)
def test_oracle_10_draws_have_the_probabilities_of_their_law(name):
    law, count = LAWS[name], 10
    probabilities = law.probabilities(count)
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    rng, draws = SampleRng(7), 100_000 if name == "default" else 5_000
    found = Counter(law.draw(count, rng.key(step, "prefix")) for step in range(draws))
    possible = [k for k in range(1, count + 1) if probabilities[k - 1] > 0]
    assert set(found) <= set(possible)
    if len(possible) > 1:
        wanted = [probabilities[k - 1] * draws for k in possible]
        assert chisquare([found[k] for k in possible], wanted).pvalue > 1e-3
    assert law.draw(count, rng.key(3, "prefix")) == law.draw(count, SampleRng(7).key(3, "prefix"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"law": "geometrical"}, "choose full, uniform"),
        ({"law": "geometric"}, "needs it"),
        ({"strength": 0.2}, "leave it out"),
        ({"law": "normal", "mean": 2.0, "deviation": 0.0}, "above 0"),
        ({"law": "geometric", "strength": float("inf")}, "needs it"),
        ({"p_full": 1.5}, "lie in"),
    ],
)
def test_laws_that_are_none_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        PrefixLaw(**settings)


@pytest.mark.parametrize("shape", ["linear", "cosine", "step"])
@pytest.mark.parametrize("count", [2, 6, 10])
def test_oracle_9_temperatures_run_from_the_early_to_the_late_one(shape, count):
    found = temperatures(1.0, 0.8, shape, count)
    assert found[0] == 1.0
    assert found[-1] == 0.8
    assert list(found) == sorted(found, reverse=True)
    assert temperatures(1.0, 1.0, shape, count) == (1.0,) * count
    if shape == "step":
        assert set(found) == {1.0, 0.8}
        assert temperatures(1.0, 0.8, "step", count, 1) == (1.0, *(0.8,) * (count - 1))


def test_shapes_and_steps_that_are_none_are_refused():
    assert temperatures(1.0, 0.8, "linear", 1) == (1.0,)
    assert temperatures(1.0, 0.8, "linear", 3)[1] == pytest.approx(0.9)
    for shape, step, said in (
        ("square", None, "choose"),
        ("linear", 2, "step_at is 2 and temperature_shape 'linear', which has none: give temperature_shape=step"),
        ("step", -1, "step_at is -1, but must be at least 0"),
        ("step", 7, "step_at is 7 and there are 6 scales: give one of 0 to 6"),
    ):
        with pytest.raises(ConfigError, match=said):
            temperatures(1.0, 0.8, shape, 6, step)
