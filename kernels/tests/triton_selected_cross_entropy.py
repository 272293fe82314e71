"""The Triton rows of `selected_cross_entropy`: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import pytest
import torch
from ar_kernels import selected_cross_entropy
from ar_kernels.selected_cross_entropy import rows, rows_triton
from comparing import SIZES
from cross_entropy_cases import SETTINGS, case, compare, compare_runs, compare_small_gradients, compile_whole

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


@pytest.mark.parametrize("function", [rows_triton.hard, rows.hard], ids=["triton", "torch"])
@pytest.mark.parametrize("label", [-100, 9, 2**40])
def test_a_label_that_is_no_id_is_not_read_and_leaves_no_number(label, function):
    """On a device nobody looks at labels, so the rows' own functions have to hold."""
    z = torch.randn(3, 9, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    labels, weights = torch.tensor([4, label, 8], device=DEVICE), torch.full((3,), 0.5, device=DEVICE)
    expected = 0.5 * torch.nn.functional.cross_entropy(z[::2], labels[::2], reduction="none")
    slopes = 0.5 * (z.softmax(-1)[::2] - torch.nn.functional.one_hot(labels[::2], 9))
    loss, _ = function(z, labels, weights, True)
    torch.testing.assert_close(loss[::2], expected)
    torch.testing.assert_close(z[::2], slopes)
    assert loss[1].isnan()
    assert z[1].isnan().all()


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_small_gradients_in_float16(size):
    compare_small_gradients(size, "triton", DEVICE)
