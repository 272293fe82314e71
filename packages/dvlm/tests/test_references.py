"""What an answer is held against."""

import pytest
from ar_core.errors import DataError
from dvlm.evaluation.references import NAMES, references_of

SAID = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "a dog"}]


@pytest.mark.parametrize("name", NAMES)
def test_references_of_any_name(name):
    """A text, several, VQAv2's objects; they go before what the assistant says, and a null is none."""
    for value, expected in (
        ("a cat", ["a cat"]),
        (["a cat", "cat"], ["a cat", "cat"]),
        ([{"answer": "cat"}, "a cat"], ["cat", "a cat"]),
        (None, ["a dog"]),
    ):
        assert references_of({name: value, "conversations": SAID}, "here") == expected
    for wrong in ("", [], ["a", 3], [{}]):
        with pytest.raises(DataError, match=f"here: {name} is .*; give a text, or a list of texts"):
            references_of({name: wrong}, "here")


def test_references_under_two_names_are_refused():
    """The first would be judged by, whatever the metric."""
    with pytest.raises(
        DataError, match="here has answer and captions, and references are read from one field alone: drop"
    ):
        references_of({"answer": "zzz", "captions": ["a cat"]}, "here")
    assert references_of({"answer": None, "captions": ["a cat"]}, "here") == ["a cat"]


def test_a_record_without_references_is_named():
    for data in ({}, {"answer": None}, {"conversations": SAID[:1]}):
        with pytest.raises(DataError, match="here has no reference"):
            references_of(data, "here")
