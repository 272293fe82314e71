"""The Inception Score in closed form."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import ConfigError
from ar_vision.evaluation.class_score import ClassScore


def score(probabilities, splits=1, batch=1000):
    meter = ClassScore(len(probabilities), probabilities.shape[1], splits)
    for part in probabilities.split(batch):
        meter.add(part)
    return meter.score()


def test_certain_and_even_classes_score_their_number():
    assert score(F.one_hot(torch.arange(40) % 8).float()).mean == pytest.approx(8)


def test_one_class_scores_1():
    assert score(F.one_hot(torch.zeros(10, dtype=torch.int64), 8).float()).mean == pytest.approx(1)


def test_the_same_doubt_about_every_image_scores_1():
    assert score(torch.tensor([[0.5, 0.3, 0.2]]).repeat(9, 1)).mean == pytest.approx(1)


def test_by_the_definition(generator):
    p = torch.randn(60, 7, generator=generator).softmax(1).double()
    expected = (p * (p / p.mean(0)).log()).sum(1).mean().exp()
    assert score(p, batch=7).mean == pytest.approx(float(expected), rel=1e-12)
    assert score(p).deviation == 0


def test_splits_do_not_depend_on_the_order_of_the_classes():
    # Sorted by class, neighbouring splits would hold one class each, and score 1.
    classes = torch.arange(10).repeat_interleave(100)
    found = score(F.one_hot(classes).float(), splits=10)
    assert 9 < found.mean < 10
    assert 0 < found.deviation < 0.5


def test_batches_do_not_matter(generator):
    p = torch.randn(60, 7, generator=generator).softmax(1)
    assert score(p, 5, batch=60).mean == pytest.approx(score(p, 5, batch=11).mean, rel=1e-12)


def test_more_splits_than_images_are_refused():
    with pytest.raises(ConfigError, match="10 splits of 4 images"):
        ClassScore(4, 3, 10)
