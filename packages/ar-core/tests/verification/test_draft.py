"""Draft chains and trees as data."""

import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.verification import Draft

#        newest
#        /    \
#       1      2
#      / \      \
#     3   4      5
#     |
#     6
TREE = Draft([1, 2, 3, 4, 5, 6], [-1, -1, 0, 0, 1, 2])


def test_depths_lines_and_chains_of_a_tree():
    assert TREE.depths() == [1, 1, 2, 2, 2, 3]
    assert TREE.behind(-1) == [0, 2, 5]
    assert TREE.behind(1) == [4]
    assert TREE.behind(3) == []
    assert TREE.chains() == [[1, 4], [2, 5], [1, 3, 6]]
    assert not TREE.is_chain
    assert Draft([7, 8], [-1, 0]).is_chain
    assert (Draft([7, 8]).depths(), Draft([7, 8]).behind(0), Draft([7, 8]).chains()) == ([1, 2], [1], [[7, 8]])


@pytest.mark.parametrize(
    ("picks", "path"),
    [
        ([1, 3, 9, 6, 9, 9, 9], [0, 2, 5]),
        ([1, 4, 9, 9, 9, 9, 9], [0, 3]),
        ([2, 9, 5, 9, 9, 9, 9], [1, 4]),
        ([2, 9, 9, 9, 9, 9, 9], [1]),
        ([3, 3, 3, 3, 3, 3, 3], []),
    ],
)
def test_the_accepted_path_follows_the_picks(picks, path):
    assert TREE.accepted(picks) == path


def test_a_cut_drops_what_is_deeper_and_then_what_comes_last():
    assert TREE.cut(3) is TREE
    assert TREE.cut(2) == Draft([1, 2, 3, 4, 5], [-1, -1, 0, 0, 1])
    assert TREE.cut(3, 3) == Draft([1, 2, 3], [-1, -1, 0])
    assert len(TREE.cut(0)) == 0
    # A node that is left out in the middle moves the indices of those behind it.
    assert Draft([1, 3, 2], [-1, 0, -1]).cut(1) == Draft([1, 2], [-1, -1])
    chain = Draft([1, 2, 3], densities=torch.full((3, 4), 0.25)).cut(2)
    assert (list(chain.tokens), chain.densities.shape) == ([1, 2], (2, 4))


def test_chains_with_equal_beginnings_share_them():
    merged = Draft.of_chains([[1, 2, 3], [1, 2, 4], [5], [1, 2], [1, 2, 3]])
    assert merged == Draft([1, 2, 3, 4, 5], [-1, 0, 1, 1, -1])
    assert Draft.of_chains([[1, 2, 3], [1, 2]]) == Draft([1, 2, 3])
    assert Draft.of_chains([[], []]) == Draft([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Draft([1, 2], [-1]), "A draft of 2 tokens was given 1 parents"),
        (lambda: Draft([1, 2], [-1, 1]), "Token 1 of a draft tree was given the parent 1"),
        (lambda: Draft([1, 2], [-1, -2]), "Token 1 of a draft tree was given the parent -2"),
        (lambda: Draft([1, 1], [-1, -1]), "holds the token 1 twice below the same parent"),
        (lambda: Draft([1], densities=torch.ones(2, 3)), r"densities of shape \[2, 3\]"),
        (lambda: Draft([1], densities=torch.ones(1, 3).long()), "give one row of floating-point numbers"),
        (lambda: Draft([1], [-1], torch.ones(1, 3)), "A draft tree was given densities, which only a chain can have"),
    ],
)
def test_what_is_no_draft_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_along_follows_a_chain_as_far_as_the_draft_holds_it():
    tree = Draft.of_chains([[5, 6, 7], [5, 8], [9]])
    assert [tree.tokens[node] for node in tree.along([5, 8, 1])] == [5, 8]
    assert tree.along([5, 6, 7]) == [0, 1, 2]
    assert tree.along([9]) == [4]
    assert tree.along([8]) == tree.along([]) == Draft(()).along([1]) == []
    assert Draft([1, 1, 2]).along([1, 1, 1]) == [0, 1]
