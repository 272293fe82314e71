"""Distances to the nearest training image."""

import pytest
import torch
from ar_core.errors import DataError
from ar_vision.evaluation.nearest_training import NearestTraining, memorisation


def nearest(queries, training, batch=100):
    search = NearestTraining(queries)
    for part in training.split(batch):
        search.add(part)
    return search.result()


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_nearest_is_found_in_any_batches(generator, batch):
    queries, training = torch.randn(11, 30, generator=generator), torch.randn(90, 30, generator=generator)
    found = nearest(queries, training, batch)
    full = torch.cdist(queries.double(), training.double())
    torch.testing.assert_close(found.distance, full.amin(1))
    assert torch.equal(found.index, full.argmin(1))


def test_a_copy_is_at_exactly_0(generator):
    training = torch.randint(0, 256, (50, 3072), generator=generator, dtype=torch.uint8)
    found = nearest(training[[7, 31]], training, 20)
    assert found.distance.tolist() == [0, 0]
    assert found.index.tolist() == [7, 31]


def test_copies_are_counted_and_listed(generator):
    training = torch.randn(500, 8, generator=generator)
    fresh = torch.randn(200, 8, generator=generator)
    held_out = nearest(torch.randn(300, 8, generator=generator), training)
    copied = torch.cat([fresh[:100], training[:100] + 1e-3, training[100:105]])
    honest, memorised = (memorisation(nearest(x, training), held_out) for x in (fresh, copied))
    assert honest["copies"] == 0
    assert honest["below"] < 0.05
    assert memorised["copies"] == 5
    assert memorised["below"] == pytest.approx(105 / 205, abs=0.03)
    assert [pair["training"] for pair in memorised["nearest"][:5]] == [100, 101, 102, 103, 104]
    assert [pair["sample"] for pair in memorised["nearest"][:5]] == [200, 201, 202, 203, 204]
    assert memorised["samples"]["smallest"] == 0
    assert memorised["held_out"]["count"] == 300
    assert memorised["samples"]["median"] < memorised["held_out"]["median"]


def test_an_empty_training_set_is_refused():
    with pytest.raises(DataError, match="no training images"):
        NearestTraining(torch.zeros(2, 3)).result()
