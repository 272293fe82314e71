"""The Triton kernel of `flow_mean`: on a GPU, or under the interpreter as `test_triton.py` runs it."""

import pytest
import torch
from ar_kernels import flow_mean
from ar_kernels.flow_velocity import mean_triton
from comparing import SIZES, close
from flow_velocity_cases import (
    compare,
    compare_filtered,
    compare_runs,
    compare_velocity,
    compile_whole,
    points,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def small_tiles(monkeypatch):
    """Many tiles, as only large codebooks have."""
    monkeypatch.setattr(mean_triton, "ELEMENTS", 16)


# A program has one row: under the interpreter many of them take long, and show nothing new.
@pytest.mark.parametrize("size", [size for size in SIZES if size[0] < 20], ids=lambda size: "x".join(map(str, size)))
def test_means_are_those_of_float64(size):
    compare(size, torch.float32, "triton", DEVICE)


@pytest.mark.parametrize("size", [(5, 300, 17), (3, 7, 5)], ids=lambda size: "x".join(map(str, size)))
def test_means_over_many_tiles(size, small_tiles):
    compare(size, torch.float32, "triton", DEVICE)


def test_what_cannot_be_drawn():
    compare_filtered("triton", DEVICE)


def test_what_cannot_be_drawn_over_many_tiles(small_tiles):
    compare_filtered("triton", DEVICE)


def test_velocity_is_that_of_the_paper():
    compare_velocity("triton", DEVICE)


def test_runs_are_equal_bit_by_bit():
    compare_runs("triton", DEVICE)


def test_torch_library_checks_and_compilation():
    compile_whole("triton", DEVICE)


def test_rows_that_lie_apart_in_memory():
    z, tau, log_probs, codebook, ids = points((9, 50, 6), torch.float32, DEVICE, 20)
    expected = flow_mean(z, tau, log_probs, codebook, ids=ids, implementation="triton")
    spread = [torch.cat([one, one + 1], dim=1)[:, : one.shape[1]] for one in (z, log_probs, codebook)]
    turned = [one.T.contiguous().T for one in (z, log_probs, codebook)]
    for given, order in ((spread, torch.cat([ids, ids], dim=1)[:, :20]), (turned, ids.T.contiguous().T)):
        found = flow_mean(given[0], tau, *given[1:], ids=order, implementation="triton")
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_narrow_dtypes_are_widened():
    z, tau, log_probs, codebook, _ = points((20, 60, 5), torch.float32, DEVICE)
    found = flow_mean(z.bfloat16(), tau, log_probs, codebook.half(), implementation="triton")
    expected = flow_mean(z.bfloat16().float(), tau, log_probs, codebook.half().float(), implementation="triton")
    close(found.mean, expected.mean, 1e-7, "mean")


def test_no_rows():
    found = flow_mean(
        torch.zeros(0, 3, device=DEVICE),
        1.0,
        torch.zeros(0, 5, device=DEVICE),
        torch.ones(5, 3, device=DEVICE),
        implementation="triton",
    )
    assert [one.shape for one in found] == [(0, 3), (0,), (0,)]
