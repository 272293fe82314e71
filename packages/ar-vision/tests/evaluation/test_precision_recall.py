"""Precision and recall on sets drawn by hand, and tiles of distances."""

import pytest
import torch
from ar_core.errors import DataError
from ar_vision.evaluation.distances import kth_distances, squared_distances
from ar_vision.evaluation.precision_recall import precision_recall


def line(*places):
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_equal_sets_are_perfect(generator):
    vectors = torch.randn(40, 3, generator=generator)
    found = precision_recall(vectors, vectors.clone())
    assert (found.precision, found.recall) == (1, 1)


def test_a_hand_made_case():
    # k = 1. Balls of the reference 0, 1, 10 reach 1, 1, 9; of the samples 0.5, 2.5, 30, 31 reach 2, 2, 1, 1.
    samples, reference = line(0.5, 2.5, 30, 31), line(0, 1, 10)
    found = precision_recall(samples, reference, k=1)
    # 0.5 lies near 0; 2.5 lies within 9 of 10; 30 and 31 nowhere.
    assert found.precision == 0.5
    # 0 and 1 lie within 2 of 0.5; 10 nowhere.
    assert found.recall == pytest.approx(2 / 3)


def test_the_border_belongs_to_the_ball():
    found = precision_recall(line(2, 50), line(0, 1), k=1)
    assert found.precision == 0.5


def test_missing_modes_cost_recall_and_stray_samples_precision(generator):
    near = torch.randn(200, 2, generator=generator)
    far = near + 100
    both = torch.cat([near, far])
    half = precision_recall(torch.randn(200, 2, generator=generator), both)
    assert half.precision > 0.9
    assert half.recall < 0.55
    stray = precision_recall(both, torch.randn(200, 2, generator=generator))
    assert stray.precision < 0.55
    assert stray.recall > 0.9


@pytest.mark.parametrize("tile", [1, 3, 7, 100])
def test_tiles_change_nothing(generator, tile):
    a, b = torch.randn(17, 4, generator=generator), torch.randn(23, 4, generator=generator)
    assert precision_recall(a, b, tile=tile) == precision_recall(a, b)
    full = torch.cdist(a.double(), a.double()).square()
    expected = full.sort(1).values[:, 3]
    torch.testing.assert_close(kth_distances(a, 3, tile), expected)


def test_no_matrix_of_all_pairs_is_made(generator, monkeypatch):
    made = []
    original = torch.addmm

    def noting(*args, **named):
        out = original(*args, **named)
        made.append(out.numel())
        return out

    monkeypatch.setattr(torch, "addmm", noting)
    precision_recall(torch.randn(64, 2, generator=generator), torch.randn(64, 2, generator=generator), tile=8)
    assert max(made) == 64


def test_distances(generator):
    a, b = torch.randn(5, 3, generator=generator), torch.randn(6, 3, generator=generator)
    expected = (a[:, None].double() - b[None].double()).square().sum(2)
    torch.testing.assert_close(squared_distances(a, b), expected)


@pytest.mark.parametrize(("samples", "reference", "role"), [(3, 9, "sample"), (9, 2, "reference")])
def test_too_few_images_are_refused(samples, reference, role):
    with pytest.raises(DataError, match=f"need more than 3 {role} images and have"):
        precision_recall(torch.zeros(samples, 2), torch.zeros(reference, 2))
