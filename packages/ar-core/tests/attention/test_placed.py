"""What a window sees of itself, without a mask over the slots before it."""

import pytest
import torch
from ar_core.attention.placed import placeable, tile_of
from ar_core.masks import Mask, causal, padding
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("causal, cached", [168, 168]),
        ("causal, cached, row by row", [0, 113]),
        ("blocks, cached", [120, 120]),
        ("blocks, cached, row by row", [0, 113]),
        ("tree, cached", [60, 60]),
        ("tree, cached, row by row", [60, 60]),
    ],
)
def test_a_tile_is_the_masks_part_of_the_window(every_mask, name, starts):
    mask = every_mask[name]
    assert placeable(mask)
    length, slots = mask.shape[2:]
    with Largest() as largest:
        tile = tile_of(mask, torch.tensor(starts))
    assert largest.elements <= 2 * max(length * length, slots) < length * slots
    for row, start in enumerate(starts):
        whole = mask.dense().expand(2, -1, -1, -1)[row, 0]
        assert torch.equal(tile.expand(2, -1, -1)[row], whole[:, start : start + length])
        assert whole[:, :start].all()


def test_full_masks_have_none_and_others_are_not_placed(every_mask):
    assert tile_of(None, torch.tensor([0])) is None
    assert tile_of(every_mask["full, cached"], torch.tensor([130])) is None
    assert placeable(None)
    assert not placeable(every_mask["causal, padded, cached"])
    assert not placeable(Mask.self_attention(causal() & padding(), every_mask["causal, left-padded"].keys))
