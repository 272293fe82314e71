"""How answers are compared."""

import pytest
from dvlm.evaluation.caption_metrics import caption_metrics
from dvlm.evaluation.vqa_accuracy import exact_match, normalised, published_cut, soft_accuracy


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("  The  Two\tDogs. ", "2 dogs"),
        ("None", "0"),
        ("1,000 m", "1000 m"),
        ("3.5", "3.5"),
        (".5 or 5.", ".5 or 5"),
        ("U.S.", "us"),
        # A space beside a sign, anywhere, takes the sign away; else it becomes a space.
        ("t-shirt", "t shirt"),
        ("t-shirt - red", "tshirt red"),
        ("yes/no", "yes no"),
        ("yes, (a) cat!", "yes cat"),
        ("red,blue", "red blue"),
        # A comma inside a number takes all signs away.
        ("1,000/day", "1000day"),
        # These are no signs of the list.
        ("50% & $5 at 10:30", "50% & $5 at 10:30"),
        ("dont, its theyre", "don't its they're"),
        ("couldntve couldn'tve well", "couldn't've couldn't've well"),
    ],
)
def test_normalised(answer, expected):
    """The rules of the VQA evaluation; expected texts were compared with those of its code in lmms-eval 0.7.3."""
    assert normalised(answer) == expected


def test_soft_accuracy_is_the_mean_over_nine_of_ten():
    """Two of ten annotators: 2 / 3 in the eight subsets that hold both, 1 / 3 in the two that lack one; four or more: 1."""
    assert soft_accuracy("red", ["red"] * 2 + ["blue"] * 8) == pytest.approx((8 * 2 / 3 + 2 / 3) / 10)
    assert soft_accuracy("red", ["red"] * 4 + ["blue"] * 6) == 1
    assert soft_accuracy("red", ["blue"] * 10) == 0
    assert soft_accuracy("Red.", ["red"]) == exact_match("red", ["a red"]) == 1
    # Four who agree are the fewest that can make an answer fully right.
    assert soft_accuracy("red", ["red"] * 4) == soft_accuracy("red", ["red", "blue"]) == 1
    assert soft_accuracy("red", ["red", "red", "red", "blue"]) == pytest.approx((3 * 2 / 3 + 1) / 4)


def test_the_published_cut():
    assert published_cut(" Yes, it is.\nBecause ...") == "Yes, it is"
    assert published_cut("3.5") == "3.5"


def test_caption_metrics():
    same = caption_metrics(["a red bus on a long road"], [["a red bus on a long road", "a bus"]])
    assert all(value == pytest.approx(100) for value in same.values())
    other = caption_metrics(["dogs"], [["a red bus on a long road"]])
    assert other["rouge_l"] == 0
    assert other["bleu"] < 1
    # Each caption against its own references, of which it may have more or fewer than others.
    first, second = "a red bus on a long road", "two dogs that run in the snow"
    own = caption_metrics([first, second], [[first], ["no", second]])
    crossed = caption_metrics([first, second], [[second], ["no", first]])
    assert own["bleu"] == pytest.approx(100)
    assert own["rouge_l"] == pytest.approx(100)
    assert crossed["bleu"] < 10
    assert crossed["rouge_l"] < 30
