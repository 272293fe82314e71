"""The Triton rows of `selected_cross_entropy`: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import pytest
import torch
from ar_kernels import selected_cross_entropy
from comparing import SIZES
from cross_entropy_cases import SETTINGS, case, compare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_loss_and_gradients_equal_the_reference(size):
    compare(size, torch.float32, SETTINGS[sum(size) % len(SETTINGS)], "triton", DEVICE)


def test_it_is_deterministic_and_writes_no_gradient_unasked():
    given = case(7, 300, 8, torch.float32, DEVICE)
    losses = [
        selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels, implementation="triton")
        for _ in range(2)
    ]
    assert torch.equal(*losses)
    with torch.no_grad():
        again = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels, implementation="triton")
    assert torch.equal(again, losses[0])


def test_bfloat16():
    compare((9, 100, 16), torch.bfloat16, {}, "triton", DEVICE)
