import pickle

import pytest
import torch
from ar_core.errors import MaskError
from ar_core.masks import (
    Mask,
    Tokens,
    bidirectional,
    block_diffusion,
    causal,
    document,
    noise_aware_causal,
    padding,
    sliding_window,
    tree_intervals,
)


def test_rules_are_values():
    assert sliding_window(3) == sliding_window(3) != sliding_window(4)
    assert causal() & document() == causal() & document()
    assert len({causal(), causal(), causal() | document()}) == 2
    rule = ~(causal() & sliding_window(3)) | block_diffusion(clean="token")
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_repr_reads_as_written():
    rule = ~(causal() & sliding_window(3)) | block_diffusion()
    assert repr(rule) == "(~(causal() & sliding_window(3)) | block_diffusion('block', 'clean'))"


def test_needs_are_united():
    rule = (causal() | document()) & padding()
    assert rule.queries == {"position", "document"}
    assert rule.keys == {"position", "document", "valid"}
    assert rule.needs == rule.keys


def test_only_a_rule_without_conditions_is_full():
    tokens = Tokens(position=torch.arange(4))
    assert Mask.self_attention(bidirectional(), tokens).is_full
    assert not Mask.self_attention(causal(), tokens).is_full
    assert not Mask.self_attention(~bidirectional(), tokens).is_full


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sliding_window(0), "sliding window of 0 positions"),
        (lambda: noise_aware_causal(0), "noise window of 0 blocks"),
        (lambda: block_diffusion(clean="causal"), "clean='causal'.*'block' or 'token'"),
        (lambda: block_diffusion(context="both"), "context='both'.*'clean' or 'noisy'"),
        (lambda: tree_intervals([-1, 5]), "Node 1 of a tree has parent 5.*-1 .* and 1"),
        (lambda: tree_intervals([-1, 2, 1]), r"Nodes \[1, 2\] of a tree are reached from no root"),
    ],
)
def test_refused_settings(make, message):
    with pytest.raises(MaskError, match=message):
        make()


def test_tree_intervals_of_a_long_chain_and_of_any_order():
    enter, leave = tree_intervals([-1, *range(4999)])
    assert enter.tolist() == list(range(1, 5001))
    assert set(leave.tolist()) == {5000}
    enter, leave = tree_intervals([2, 2, -1])
    assert enter.tolist() == [2, 3, 1]
    assert leave.tolist() == [2, 3, 3]
    assert [ids.tolist() for ids in tree_intervals([])] == [[], []]
