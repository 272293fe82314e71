"""Who sees whom in raster order, with padded conditions."""

import torch
from ar_vision.decoding.raster_mask import raster_mask


def test_padding_is_seen_by_itself_alone():
    valid = torch.tensor([[False, True], [True, True]])
    seen = raster_mask(0, 4, valid, "cpu").dense()[:, 0].int().tolist()
    assert seen[0] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    assert seen[1] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert raster_mask(3, 1, valid, "cpu").dense()[:, 0].int().tolist() == [[[0, 1, 1, 1]], [[1, 1, 1, 1]]]


def test_one_code_behind_a_whole_condition_needs_no_mask():
    assert raster_mask(3, 1, None, "cpu") is None
    assert raster_mask(0, 3, None, "cpu").dense()[0, 0].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
