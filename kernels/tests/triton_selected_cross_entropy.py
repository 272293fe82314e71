"""The Triton rows of `selected_cross_entropy`: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import pytest
import torch
from ar_kernels import selected_cross_entropy
from comparing import SIZES
from cross_entropy_cases import SETTINGS, case, compare, compare_runs, compile_whole

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_loss_and_gradients_equal_the_reference(size):
    compare(size, torch.float32, SETTINGS[sum(size) % len(SETTINGS)], "triton", DEVICE)


def test_runs_are_equal_bit_by_bit():
    compare_runs("triton", DEVICE)


def test_a_loss_without_gradients_is_the_same():
    given = case(7, 300, 8, torch.float32, DEVICE)
    arguments = (given.hidden, given.weight, given.rows, given.labels)
    with torch.no_grad():
        alone = selected_cross_entropy(*arguments, implementation="triton")
    assert torch.equal(alone, selected_cross_entropy(*arguments, implementation="triton"))


def test_torch_library_checks_and_compilation():
    compile_whole("triton", DEVICE)


def test_bfloat16():
    compare((9, 100, 16), torch.bfloat16, {}, "triton", DEVICE)
