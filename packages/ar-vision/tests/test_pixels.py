import pytest
import torch
from ar_core.errors import DataError
from ar_vision.pixels import to_bytes, to_signed


def test_bytes_end_at_one_and_come_back():
    levels = torch.arange(256, dtype=torch.uint8)
    signed = to_signed(levels)
    assert (signed.dtype, signed[0].item(), signed[-1].item()) == (torch.float32, -1.0, 1.0)
    assert to_bytes(signed).equal(levels)


def test_values_are_clamped_then_rounded_to_the_nearest_level():
    step = 2 / 255
    given = torch.tensor([-7.0, -1 + 0.4 * step, -1 + 0.6 * step, 7.0, torch.inf])
    assert to_bytes(given).tolist() == [0, 0, 1, 255, 255]


def test_floats_stay_and_other_types_are_refused():
    assert to_signed(torch.tensor([0.5], dtype=torch.float64)).tolist() == [0.5]
    with pytest.raises(DataError, match=r"an image of torch\.int64 was given"):
        to_signed(torch.tensor([1]))
    with pytest.raises(DataError, match="not numbers"):
        to_bytes(torch.tensor([torch.nan]))
