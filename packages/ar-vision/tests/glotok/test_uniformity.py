"""Uniformity of codebooks: numbers that are known beforehand."""

import math

import pytest
import torch
from ar_core.errors import DataError
from ar_vision.glotok.uniformity import gini, uniformity


def test_directions_that_see_each_other_alike_are_even():
    found = uniformity(torch.eye(6) * torch.arange(1.0, 7.0)[:, None])
    assert found["density_cv"] == pytest.approx(0, abs=1e-12)
    assert found["entropy"] == pytest.approx(1, abs=1e-12)
    assert found["gini"] == pytest.approx(0, abs=1e-12)
    # Squared chords of orthogonal directions are 2.
    assert found["log_density"] == pytest.approx(math.log((1 + 5 * math.exp(-4)) / 6))


def test_directions_that_are_all_alike_are_even_and_not_spread():
    found = uniformity(torch.ones(5, 3) * torch.arange(1.0, 6.0)[:, None])
    assert found["density_cv"] == pytest.approx(0, abs=1e-12)
    assert found["log_density"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("tile", [2, 3, 512])
def test_a_pair_and_a_lone_direction_have_a_closed_form(tile):
    bandwidth = 0.5
    far = math.exp(-1 / bandwidth**2)
    dense, sparse = (2 + far) / 3, (1 + 2 * far) / 3
    mean = (2 * dense + sparse) / 3
    spread = math.sqrt((2 * (dense - mean) ** 2 + (sparse - mean) ** 2) / 3)
    total = 2 * dense + sparse
    shares = [dense / total, dense / total, sparse / total]
    found = uniformity(torch.tensor([[1.0, 0], [3, 0], [0, 2]]), bandwidth=bandwidth, tile=tile)
    assert found["density_cv"] == pytest.approx(spread / mean)
    assert found["entropy"] == pytest.approx(-sum(share * math.log(share) for share in shares) / math.log(3))
    assert found["gini"] == pytest.approx(gini(torch.tensor([dense, dense, sparse], dtype=torch.float64)))


def test_clustered_directions_are_less_even_than_scattered_ones():
    generator = torch.Generator().manual_seed(0)
    scattered = torch.randn(200, 8, generator=generator)
    clustered = torch.cat([scattered[:100], scattered[:1] + 0.1 * torch.randn(100, 8, generator=generator)])
    even, uneven = uniformity(scattered), uniformity(clustered)
    assert even["density_cv"] < uneven["density_cv"]
    assert even["entropy"] > uneven["entropy"]
    assert even["gini"] < uneven["gini"]
    assert even["log_density"] < uneven["log_density"] - 0.1


def test_gini_of_known_shares():
    assert gini(torch.tensor([5, 5, 5])) == pytest.approx(0)
    assert gini(torch.tensor([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(torch.tensor([1.0, 3.0])) == pytest.approx(0.25)
    assert gini(torch.zeros(4)) == 0


def test_one_vector_is_refused():
    with pytest.raises(DataError, match="at least 2"):
        uniformity(torch.ones(1, 4))
