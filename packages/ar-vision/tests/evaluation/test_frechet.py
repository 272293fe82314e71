"""Moments of streams and the Fréchet distance, against closed forms and scipy's matrix root."""

import math

import numpy as np
import pytest
import torch
from ar_core.errors import DataError
from ar_vision.evaluation.frechet import frechet_distance
from ar_vision.evaluation.moments import Moments


def moments(vectors, batch=None):
    made = Moments(vectors.shape[1])
    for part in vectors.split(batch or len(vectors)):
        made.add(part)
    return made


@pytest.mark.parametrize("batch", [1, 7, 63, 500])
def test_moments_of_a_stream_are_those_of_the_whole(generator, batch):
    vectors = torch.randn(500, 9, generator=generator) * 3 + 1e4
    found = moments(vectors, batch)
    np.testing.assert_allclose(found.mean.numpy(), vectors.double().numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance.numpy(), np.cov(vectors.double().numpy().T), rtol=1e-7, atol=1e-9)


def test_the_distance_is_that_with_scipys_root(generator):
    linalg = pytest.importorskip("scipy.linalg")
    mix = torch.randn(24, 24, generator=generator)
    first = torch.randn(300, 24, generator=generator) @ mix
    second = torch.randn(400, 24, generator=generator) + 0.3
    a, b = moments(first), moments(second)
    ca, cb = a.covariance.numpy(), b.covariance.numpy()
    root = linalg.sqrtm(ca @ cb)
    expected = np.sum((a.mean.numpy() - b.mean.numpy()) ** 2) + np.trace(ca + cb - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_equal_sets_are_at_distance_0(generator):
    vectors = torch.randn(50, 12, generator=generator)
    assert frechet_distance(moments(vectors), moments(vectors, 7)) == pytest.approx(0, abs=1e-9)


def test_two_known_gaussians():
    # Of diagonal covariances the distance is |m1 - m2|² + sum of (s1 - s2)².
    first = Moments.published(torch.tensor([0.0, 1.0]), torch.diag(torch.tensor([4.0, 9.0])), "a")
    second = Moments.published(torch.tensor([3.0, 1.0]), torch.diag(torch.tensor([1.0, 25.0])), "b")
    assert frechet_distance(first, second) == pytest.approx(9 + 1 + 4, abs=1e-12)


def test_a_shift_costs_its_square(generator):
    vectors = torch.randn(100, 5, generator=generator)
    assert frechet_distance(moments(vectors), moments(vectors + 2)) == pytest.approx(5 * 4, rel=1e-5)


def test_covariances_without_full_rank_are_exact(generator):
    flat = torch.randn(100, 6, generator=generator)
    flat[:, 3:] = 0
    assert frechet_distance(moments(flat), moments(flat * 3)) == pytest.approx(
        4 * float(moments(flat).covariance.trace()) + 4 * float(moments(flat).mean.square().sum()), rel=1e-6
    )


@pytest.mark.parametrize(("samples", "reference", "role", "count"), [(8, 20, "sample", 8), (20, 4, "reference", 4)])
def test_too_few_images_are_refused(generator, samples, reference, role, count):
    a, b = (moments(torch.randn(n, 8, generator=generator)) for n in (samples, reference))
    with pytest.raises(DataError, match=f"fid needs more than 8 {role} images.* and has {count}"):
        frechet_distance(a, b, what="fid")


def test_features_of_two_extractors_are_not_compared(generator):
    a, b = (moments(torch.randn(20, dim, generator=generator)) for dim in (3, 4))
    with pytest.raises(DataError, match="features of 3 and of 4 dimensions"):
        frechet_distance(a, b)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (torch.zeros(2), torch.zeros(3, 3), "must be"),
        (torch.tensor([0.0, math.nan]), torch.eye(2), "not finite"),
        (torch.zeros(2), torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
    ],
)
def test_damaged_statistics_are_refused(mean, covariance, message):
    with pytest.raises(DataError, match=f"stats.npz has .*{message}"):
        Moments.published(mean, covariance, "stats.npz")


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="not finite"):
        Moments(2).add(torch.tensor([[0.0, math.inf]]))
