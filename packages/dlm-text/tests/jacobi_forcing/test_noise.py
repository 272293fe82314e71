"""Which state stands for a block: schedules, ratios, and what the published scripts chose."""

import pytest
import torch
from ar_core.errors import ConfigError
from dlm_text.jacobi_forcing.config import NoiseSchedule
from dlm_text.jacobi_forcing.noise import noise_ratios, noised, scheduled_ratios
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory

RECORDED = {
    "window_w2": {"window": 2},
    "window_w3": {"window": 3},
    "window_w4": {"window": 4},
    "window_w8": {"window": 8},
    **{f"{kind}_h{h}": {"kind": kind, "horizon": h} for kind in ("cyclic", "progressive") for h in (2, 4, 8)},
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scheduled_ratios_are_those_of_code_and_paper() -> None:
    """Oracle 14, first half."""
    assert scheduled_ratios(NoiseSchedule(window=5)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert scheduled_ratios(NoiseSchedule(window=4, endpoint="exclusive")).tolist() == [0, 0.25, 0.5, 0.75]
    assert scheduled_ratios(NoiseSchedule(window=1)).tolist() == [0]


@pytest.mark.parametrize(
    ("window", "endpoint"), [(3, "inclusive"), (5, "inclusive"), (4, "exclusive"), (6, "inclusive")]
)
def test_the_nearest_state_is_chosen_and_the_first_of_two(make_trajectory, window: int, endpoint: str) -> None:
    """Oracle 14: states with the ratios 1, 3/4, 1/2, 1/4, 0; a window of 6 asks for 0, 1/5, ..., 1."""
    trajectory = make_trajectory(0, blocks=2 * window)
    schedule = NoiseSchedule(window=window, endpoint=endpoint)
    ratios = [1, 0.75, 0.5, 0.25, 0]
    wanted = []
    for block in range(2 * window):
        t = (block % window) / (window if endpoint == "exclusive" else window - 1)
        wanted.append(min(range(5), key=lambda k: (abs(ratios[k] - t), k)))
    found = noised(trajectory, schedule, generator())
    assert found.chosen == wanted
    assert all(torch.equal(found.states[j], trajectory.states[j][k]) for j, k in enumerate(wanted))


def test_ties_go_to_the_lowest_index(make_trajectory) -> None:
    """Oracle 14: two states of equal ratio, and two ratios equally far from t = 1/2."""
    one = make_trajectory(0, blocks=2, size=4)
    twice = Trajectory(one.prompt, one.clean, (one.states[0], one.states[1][[1, 1, 3, 3]]))
    assert noised(twice, NoiseSchedule(window=3), generator()).chosen[1] == 0


def test_metrics_count_what_they_say() -> None:
    clean = torch.tensor([1, 2, 3, 4])
    states = torch.tensor([[1, 9, 3, 4], [9, 9, 9, 9], [1, 2, 3, 4], [1, 2, 3, 9]])
    assert noise_ratios(states, clean, "prefix").tolist() == [0.75, 1, 0, 0.25]
    assert noise_ratios(states, clean, "count").tolist() == [0.25, 1, 0, 0.25]


def test_reverse_falls_and_random_belongs_to_the_generator(make_trajectory) -> None:
    trajectory = make_trajectory(1, blocks=10)
    rising = noised(trajectory, NoiseSchedule(window=5), generator()).chosen
    falling = noised(trajectory, NoiseSchedule(window=5, order="reverse"), generator()).chosen
    assert falling == rising[:5][::-1] * 2
    drawn = [noised(trajectory, NoiseSchedule(window=5, order="random"), generator(s)).chosen for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.golden
@pytest.mark.parametrize("variant", ["true_init_restored", "as_returned"])
def test_recorded_choices(packing_cases, variant: str) -> None:
    cases = [case for case in packing_cases["unit_cases"] if case["variant"] == variant]
    assert cases
    for case in cases:
        # Earlier blocks only move the schedule to the block's place.
        states, block = torch.tensor(case["trajectory"]), case["block_index"]
        trajectory = Trajectory(torch.zeros(1), states[-1:].expand(block + 1, -1), (states,) * (block + 1))
        ratios = noise_ratios(states, states[-1], "prefix")
        assert ratios.tolist() == case["noise_ratio_prefix_convention"]
        for name, settings in RECORDED.items():
            chosen = noised(trajectory, NoiseSchedule(**settings), generator()).chosen[block]
            assert chosen == case["selected_state_index"][name], (name, case)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0"),
        ({"horizon": 1}, "horizon is 1"),
        ({"kind": "cyclic", "order": "random"}, "order is 'random', which kind 'cyclic' never uses"),
        ({"horizon": 4}, "horizon is 4, which kind 'window' never uses: drop it, or set kind to cyclic or progressive"),
    ],
)
def test_refusals(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NoiseSchedule(**settings)
