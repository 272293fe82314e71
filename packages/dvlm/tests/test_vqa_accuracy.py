"""How answers are compared."""

import pytest
from dvlm.evaluation.caption_metrics import caption_metrics
from dvlm.evaluation.vqa_accuracy import exact_match, normalised, published_cut, soft_accuracy


def test_normalised():
    assert normalised("  The  Two Dogs. ") == "2 dogs"
    assert normalised("1,000 m") == "1000 m"
    assert normalised("3.5") == "3.5"
    assert normalised("yes, (a) cat!") == "yes cat"


def test_soft_accuracy_is_the_mean_over_nine_of_ten():
    """Two of ten annotators: 2 / 3 in the eight subsets that hold both, 1 / 3 in the two that lack one; four or more: 1."""
    assert soft_accuracy("red", ["red"] * 2 + ["blue"] * 8) == pytest.approx((8 * 2 / 3 + 2 / 3) / 10)
    assert soft_accuracy("red", ["red"] * 4 + ["blue"] * 6) == 1
    assert soft_accuracy("red", ["blue"] * 10) == 0
    assert soft_accuracy("Red.", ["red"]) == exact_match("red", ["a red"]) == 1


def test_the_published_cut():
    assert published_cut(" Yes, it is.\nBecause ...") == "Yes, it is"
    assert published_cut("3.5") == "3.5"


def test_caption_metrics():
    same = caption_metrics(["a red bus on a long road"], [["a red bus on a long road", "a bus"]])
    assert all(value == pytest.approx(100) for value in same.values())
    other = caption_metrics(["dogs"], [["a red bus on a long road"]])
    assert other["rouge_l"] == 0
    assert other["bleu"] < 1
