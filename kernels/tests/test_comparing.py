"""The comparisons that all tests of ops lean on can fail."""

import pytest
import torch
from attention_cases import CACHED, TRAINING
from comparing import SIZES, close, error_ratio, poisoned, repeatable


def test_thirty_sizes_at_least():
    assert min(len(set(sizes)) for sizes in (SIZES, CACHED, TRAINING)) >= 30


def test_a_ratio_is_of_root_mean_squares_and_is_bounded():
    expected = torch.tensor([3.0, 4.0])
    assert error_ratio(expected + torch.tensor([0.3, 0.4]), expected) == pytest.approx(0.1)
    with pytest.raises(AssertionError, match=r"loss: error ratio 1.00e-01, allowed 9e-02"):
        close(expected * 1.1, expected, 0.09, "loss")
    close(expected * 1.1, expected, 0.11, "loss")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_memory_that_was_not_written_is_seen(dtype):
    with poisoned():
        found = torch.empty(100, dtype=dtype)
        others = torch.empty_like(found), found.new_empty(100), torch.zeros(100, dtype=dtype)
        tokens = torch.empty(100, dtype=torch.int64)
    assert [bool(one.isnan().all()) for one in (found, *others)] == [True, True, True, False]
    assert (tokens == torch.iinfo(torch.int64).max).all()
    found[1:] = 1
    with pytest.raises(AssertionError, match="error ratio inf"):
        close(found, torch.ones(100), 1e30, "output")


def test_another_bit_in_a_second_run_is_seen():
    counted = []

    def run():
        counted.append(1)
        return [torch.ones(3), torch.full((3,), 1 + 2**-23 * len(counted))]

    with pytest.raises(AssertionError, match="result 1 of a second run"):
        repeatable(run)
