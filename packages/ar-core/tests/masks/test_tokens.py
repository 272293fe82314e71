import pickle

import pytest
import torch
from ar_core.errors import MaskError
from ar_core.masks import Mask, Tokens, causal, padding, sliding_window


def test_shared_and_per_row_ids():
    tokens = Tokens(
        position=torch.arange(7), valid=torch.ones(3, 7, dtype=torch.bool), block=torch.zeros(1, 7, dtype=int)
    )
    assert (tokens.length, tokens.batch) == (7, 3)
    assert tokens["valid"].dtype == torch.int64
    assert tokens["block"].shape == (7,)
    assert "block" in tokens
    assert "document" not in tokens
    assert tokens.row(2)["valid"].shape == (7,)
    assert tokens.slice(2, 5)["valid"].shape == (3, 3)
    assert tokens.with_ids(document=torch.arange(7)).names == {"position", "valid", "block", "document"}
    assert Tokens(position=torch.arange(1)).batch is None
    taken = Tokens(position=torch.arange(7), block=torch.arange(14).view(2, 7)).take(torch.tensor([[1, 0], [6, 6]]))
    assert taken["position"].tolist() == [[1, 0], [6, 6]]
    assert taken["block"].tolist() == [[1, 0], [13, 13]]


def test_cat_expands_shared_ids():
    joined = Tokens.cat([Tokens(valid=torch.ones(3, 2, dtype=int)), Tokens(valid=torch.tensor([0, 1, 0]))])
    assert joined["valid"].tolist() == [[1, 1, 0, 1, 0]] * 3


def test_missing_id_is_named():
    with pytest.raises(MaskError, match=r"needs the id 'block' and these tokens have only position"):
        Tokens(position=torch.arange(3))["block"]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({}, "no ids"),
        ({"position": torch.zeros(3)}, r"'position' is torch.float32 of shape \(3,\)"),
        ({"position": torch.zeros((), dtype=int)}, r"shape \(\)"),
        ({"position": torch.zeros(3, dtype=int), "block": torch.zeros(4, dtype=int)}, "'block' has length 4"),
        ({"position": torch.zeros(2, 3, dtype=int), "block": torch.zeros(4, 3, dtype=int)}, "'block' has 4 rows"),
    ],
)
def test_refused_ids(ids, message):
    with pytest.raises(MaskError, match=message):
        Tokens(**ids)


def test_refused_joins():
    with pytest.raises(MaskError, match="ids position and block"):
        Tokens.cat([Tokens(position=torch.arange(3)), Tokens(block=torch.arange(3))])
    with pytest.raises(MaskError, match=r"batch sizes \[2, 3\]"):
        Tokens.cat([Tokens(block=torch.zeros(2, 1, dtype=int)), Tokens(block=torch.zeros(3, 1, dtype=int))])


def test_mask_names_the_side_that_lacks_an_id():
    position = Tokens(position=torch.arange(3))
    with pytest.raises(MaskError, match=r"needs the ids valid of the keys, which have only position"):
        Mask.self_attention(causal() & padding(), position)
    with pytest.raises(MaskError, match=r"needs the ids position of the queries, which have only valid"):
        Mask(causal() & padding(), Tokens(valid=torch.ones(3, dtype=int)), position)


def test_mask_refuses_sides_of_different_batch_size():
    two, three = (Tokens(position=torch.zeros(n, 4, dtype=int)) for n in (2, 3))
    with pytest.raises(MaskError, match="batch size 2 and keys 3"):
        Mask(causal(), two, three)


def test_to_keeps_queries_and_keys_one():
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(3))).to("meta")
    assert mask.device.type == "meta"
    assert mask.queries is mask.keys


def test_masks_travel_between_processes():
    mask = Mask.self_attention(causal() & padding(), Tokens(position=torch.arange(3), valid=torch.tensor([0, 1, 1])))
    mask.dense()
    copy = pickle.loads(pickle.dumps(mask))
    assert copy.rule == mask.rule
    assert torch.equal(copy.dense(), mask.dense())


def test_a_narrowed_mask_is_made_once_for_all_layers():
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(63)))
    narrow = mask.also(sliding_window(5))
    assert torch.equal(narrow.dense(), Mask.self_attention(causal() & sliding_window(5), mask.keys).dense())
    assert mask.also(sliding_window(5)) is narrow
    assert mask.also(sliding_window(6)) is not narrow
