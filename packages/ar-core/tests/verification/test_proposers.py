"""What the proposers draft."""

import pytest
from ar_core.errors import ConfigError
from ar_core.verification import Jacobi, NgramLookup, Proposer


def draft(proposer, context, limit=99, row=0):
    return proposer.propose([row], [context], [limit])[0]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param([1, 2, 3, 9, 1, 2], [3, 9, 1], id="continues the match"),
        pytest.param([5, 1, 2, 7, 4, 1, 2, 8, 4, 5, 1, 2], [7, 4, 1], id="longest match first"),
        pytest.param([1, 2, 7, 4, 1, 2, 8, 4, 6, 1, 2], [8, 4, 6], id="latest of equal matches"),
        pytest.param([4, 5, 6, 7], [], id="no match"),
        pytest.param([3], [], id="one token"),
        pytest.param([8, 3, 3], [3, 3, 3], id="period 1"),
        pytest.param([8, 3, 4, 3, 4], [3, 4, 3], id="period 2"),
    ],
)
def test_lookup_copies_what_followed(context, expected):
    proposer = NgramLookup(draft_length=3)
    proposer.begin([context])
    assert draft(proposer, context) == expected
    assert draft(proposer, context, limit=2) == expected[:2]


def test_lookup_indexes_as_the_context_grows():
    proposer = NgramLookup(draft_length=3)
    proposer.begin([[1, 2, 3]])
    assert draft(proposer, [1, 2, 3]) == []
    assert draft(proposer, [1, 2, 3, 1]) == [2, 3, 1]
    assert draft(proposer, [1, 2, 3, 1, 5, 1]) == [5, 1, 5]


def test_min_ngram_ignores_shorter_matches():
    context = [1, 2, 9, 7, 2]
    strict, loose = NgramLookup(min_ngram=2), NgramLookup()
    for proposer in (strict, loose):
        proposer.begin([context])
    assert draft(strict, context) == []
    assert draft(loose, context)[:2] == [9, 7]


def test_the_session_is_searched_after_the_rows_own_context():
    proposer = NgramLookup(draft_length=4)
    proposer.begin([[1, 2, 3, 4]])
    proposer.observe(0, [5], [])
    proposer.observe(0, [6], [])
    assert draft(proposer, [1, 2, 3, 4, 5, 6]) == []
    proposer.begin([[9, 2, 3], [7]])
    assert draft(proposer, [9, 2, 3]) == [4, 5, 6]
    assert draft(proposer, [7, 6], row=1) == [], "nothing crosses the end of a sequence"
    proposer.begin([[2, 3, 8, 2, 3]])
    assert draft(proposer, [2, 3, 8, 2, 3]) == [8, 2, 3, 8]


def test_the_session_can_be_left_out_and_batch_mates_are_never_searched():
    proposer = NgramLookup(session_history=False)
    proposer.begin([[1, 2, 3]])
    proposer.begin([[1, 2], [1, 2, 4]])
    assert proposer.propose([0, 1], [[1, 2], [1, 2, 4]], [9, 9]) == [[], []]


def test_jacobi_keeps_the_guesses_behind_the_accepted_prefix():
    proposer = Jacobi(draft_length=4)
    proposer.begin([[7, 8]])
    proposer.observe(0, [9], [])
    assert draft(proposer, [7, 8, 9]) == [9, 9, 9, 9]
    proposer.observe(0, [1], [2, 3, 4, 5])
    assert draft(proposer, [7, 8, 9, 1]) == [2, 3, 4, 5]
    proposer.observe(0, [2, 3, 6], [7, 8])
    assert draft(proposer, [7, 8, 9, 1, 2, 3, 6]) == [7, 8, 8, 8]


def test_jacobi_slides_its_guesses_past_passes_that_verified_fewer_or_none():
    proposer = Jacobi(draft_length=4)
    proposer.begin([[7]])
    proposer.observe(0, [1], [2, 3, 4, 5])
    assert draft(proposer, [7, 1], limit=2) == [2, 3]
    proposer.observe(0, [2], [6, 9])
    assert draft(proposer, [7, 1, 2]) == [6, 9, 5, 5]
    proposer.observe(0, [6], [])
    assert draft(proposer, [7, 1, 2, 6], limit=0) == []
    assert draft(proposer, [7, 1, 2, 6]) == [9, 5, 5, 5]


def test_proposers_fulfil_the_protocol():
    assert isinstance(NgramLookup(), Proposer)
    assert isinstance(Jacobi(), Proposer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NgramLookup(min_ngram=4), "min_ngram=4 and max_ngram=3, but 1 ≤ min_ngram ≤ max_ngram is needed"),
        (lambda: NgramLookup(draft_length=0), "draft_length=0, but a draft has at least 1 token"),
        (lambda: Jacobi(draft_length=0), "draft_length=0, but a draft has at least 1 token"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
