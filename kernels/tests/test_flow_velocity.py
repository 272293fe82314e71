"""`flow_mean` and `flow_velocity`: against first principles and float64, in pieces, compiled, and refused."""

import math

import pytest
import torch
from ar_kernels import flow_mean, flow_velocity
from ar_kernels.flow_velocity import pieces
from ar_kernels.flow_velocity.reference import reference
from comparing import SIZES, close
from flow_velocity_cases import (
    compare,
    compare_filtered,
    compare_runs,
    compare_velocity,
    compile_whole,
    points,
)
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture
def small_pieces(monkeypatch):
    """Several pieces of rows, the last one short."""
    monkeypatch.setattr(pieces, "PIECE", 100)
    monkeypatch.setattr(pieces, "FEWEST_ROWS", 3)


def test_reference_equals_the_definition():
    """Weights are p times the density of x given the code, divided by their sum."""
    z, tau, log_probs, codebook, _ = points((7, 30, 5), torch.float64, "cpu")
    found = reference(z, tau, log_probs, codebook)
    for row in range(7):
        s = tau[row] / (1 + tau[row])
        x = z[row] * (1 - s)
        density = torch.stack([torch.exp(-(x - s * code).square().sum() / (2 * (1 - s) ** 2)) for code in codebook])
        weights = log_probs[row].exp() * density
        weights = weights / weights.sum()
        torch.testing.assert_close(found.mean[row], weights @ codebook)
        assert int(found.code[row]) == int(weights.argmax())
        torch.testing.assert_close(found.weight[row], weights.max())


def test_lists_of_all_codes_in_another_order_are_all_codes():
    z, tau, log_probs, codebook, ids = points((9, 40, 3), torch.float64, "cpu", 40)
    dense = torch.zeros_like(log_probs).scatter(1, ids, log_probs)
    found, expected = flow_mean(z, tau, log_probs, codebook, ids=ids), flow_mean(z, tau, dense, codebook)
    torch.testing.assert_close(found.mean, expected.mean)
    assert torch.equal(found.code, expected.code)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_means_are_those_of_float64(size, dtype):
    compare(size, dtype, "torch", "cpu")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_means_are_those_of_float64_in_small_pieces(size, small_pieces):
    compare(size, torch.float32, "torch", "cpu")


def test_what_cannot_be_drawn():
    compare_filtered("torch", "cpu")


def test_velocity_is_that_of_the_paper():
    compare_velocity("torch", "cpu")


def test_velocity_at_the_start_leads_to_the_mean_of_the_law():
    x, _, log_probs, codebook, _ = points((12, 30, 4), torch.float64, "cpu")
    torch.testing.assert_close(flow_velocity(x, 0.0, log_probs, codebook), log_probs.softmax(1) @ codebook - x)


def test_runs_are_equal_bit_by_bit():
    compare_runs("torch", "cpu")


def test_torch_library_checks_and_compilation():
    compile_whole("torch", "cpu")


def test_autocast_does_not_reach_into_it():
    operands = points((33, 129, 9), torch.float32, "cpu")[:4]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flow_mean(*operands)
    assert torch.equal(found.mean, flow_mean(*operands).mean)


def test_no_tensor_of_rows_codes_and_dimensions():
    """The largest tensor that is made has no more numbers than the scores of a piece, or an operand."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else [out]:
                if isinstance(one, torch.Tensor):
                    largest = max(largest, one.numel())
            return out

    rows, vocabulary, width = 400, 1000, 24
    for listed in (None, 300):
        operands = points((rows, vocabulary, width), torch.float32, "cpu", listed)
        with Watch():
            pieces.in_pieces(*operands)
            reference(*operands)
        assert 0 < largest <= rows * vocabulary < rows * vocabulary * width


def test_narrow_and_mixed_dtypes_are_widened():
    z, tau, log_probs, codebook, _ = points((20, 60, 5), torch.float32, "cpu")
    narrow = flow_mean(z.bfloat16(), tau, log_probs, codebook.half())
    assert narrow.mean.dtype == torch.float32
    close(narrow.mean, flow_mean(z.bfloat16().float(), tau, log_probs, codebook.half().float()).mean, 1e-6, "mean")
    assert flow_mean(z, tau, log_probs.double(), codebook).mean.dtype == torch.float64


def test_no_rows():
    found = flow_mean(torch.zeros(0, 3), 1.0, torch.zeros(0, 5), torch.ones(5, 3))
    assert [one.shape for one in found] == [(0, 3), (0,), (0,)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"z": torch.zeros(2, 4)}, "give \\[N, C\\]"),
        ({"log_probs": torch.zeros(2, 6)}, "give \\[N, C\\]"),
        ({"codebook": torch.zeros(0, 3), "log_probs": torch.zeros(2, 0)}, "none of V, M and C being 0"),
        ({"ids": torch.zeros(2, 4, dtype=torch.int64)}, "with ids, both"),
        ({"ids": torch.zeros(2, 5, dtype=torch.int32)}, "give int64"),
        ({"log_probs": torch.zeros(2, 5, dtype=torch.int64)}, "give floating dtypes"),
        ({"implementation": "cuda"}, "give auto, torch or triton"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    given = {"z": torch.zeros(2, 3), "tau": 1.0, "log_probs": torch.zeros(2, 5), "codebook": torch.ones(5, 3)}
    with pytest.raises(ValueError, match=message):
        flow_mean(**(given | changed))
    with pytest.raises(ValueError, match="float64"):
        flow_mean(*(one.double() for one in points((2, 5, 3), torch.float32, "cpu")[:4]), implementation="triton")


def test_one_row_beside_others_is_the_row_alone():
    """Up to what products of other shapes round differently."""
    operands = points((50, 120, 6), torch.float32, "cpu")[:4]
    whole = flow_mean(*operands)
    alone = flow_mean(*(one[7:8] for one in operands[:3]), operands[3])
    torch.testing.assert_close(alone.mean[0], whole.mean[7], atol=1e-6, rtol=0)
    assert math.isclose(float(alone.weight), float(whole.weight[7]), abs_tol=1e-6)
