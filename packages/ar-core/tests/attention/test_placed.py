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
        tile = tile_of(mask, torch.tensor(starts), length)
    assert largest.elements <= 2 * max(length * length, slots) < length * slots
    for row, start in enumerate(starts):
        whole = mask.dense().expand(2, -1, -1, -1)[row, 0]
        assert torch.equal(tile.expand(2, -1, -1)[row], whole[:, start : start + length])
        assert whole[:, :start].all()


def test_a_tile_may_go_beyond_the_window_and_beyond_the_slots(every_mask):
    mask = every_mask["blocks, cached, row by row"]
    length, slots = mask.shape[2:]
    starts = torch.tensor([0, 113])
    tile = tile_of(mask, starts, slots)
    assert tile.shape == (2, length, slots)
    for row, start in enumerate(starts.tolist()):
        assert torch.equal(tile[row, :, : slots - start], mask.dense()[row, 0, :, start:])


def test_masks_that_hide_committed_tokens_are_not_placed(every_mask):
    assert placeable(None)
    assert not placeable(every_mask["causal, padded, cached"])
    assert not placeable(Mask.self_attention(causal() & padding(), every_mask["causal, left-padded"].keys))
