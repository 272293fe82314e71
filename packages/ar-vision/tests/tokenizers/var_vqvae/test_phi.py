import json

import pytest
import torch
from ar_vision.tokenizers.var_vqvae.phi import Phi, phi_index


@pytest.mark.parametrize(
    ("count", "expected"),
    [(4, [0, 1, 2, 3]), (10, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]), (14, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3])],
)
def test_four_phis_over_the_published_schedules(count, expected):
    assert [phi_index(scale, count, 4) for scale in range(count)] == expected


@pytest.mark.golden
def test_choices_are_the_recorded_ones(golden_dir):
    recorded = json.loads((golden_dir / "vision_a" / "var_phi_selection.json").read_text())
    choices = {tuple(map(int, name.split("_")[1::2])): value for name, value in recorded.items() if "_SN_" in name}
    assert len(choices) > 30
    for (phis, count), expected in choices.items():
        assert [phi_index(scale, count, phis) for scale in range(count)] == expected, (phis, count)


@pytest.mark.parametrize("count", range(1, 16))
def test_one_phi_for_each_scale_or_one_for_all(count):
    assert [phi_index(scale, count, 1) for scale in range(count)] == [0] * count
    if count != 4:
        assert [phi_index(scale, count, count) for scale in range(count)] == list(range(count))


def test_the_only_scale_is_the_last():
    assert phi_index(0, 1, 4) == 3


def test_phi_is_half_convolved(generator):
    phi = Phi(3, 0.5).double()
    u = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    convolved = torch.nn.functional.conv2d(u, phi.weight, phi.bias, padding=1)
    assert (phi(u) - (u + convolved) / 2).abs().max() < 1e-15
    assert torch.equal(Phi(3, 0.0).double()(u), u)
