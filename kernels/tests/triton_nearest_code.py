"""The Triton kernel of `nearest_code`: on a GPU, or under the interpreter as `test_triton.py` runs it."""

import math

import pytest
import torch
from ar_kernels import nearest_code
from ar_kernels.nearest_code import codes_triton
from comparing import SIZES
from nearest_code_cases import (
    METRICS,
    codes_and_rows,
    compare,
    compare_far_from_the_origin,
    compare_runs,
    compare_ties,
    compare_what_is_no_number,
    compile_whole,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def long_parts(monkeypatch):
    """Few parts of many small tiles, as only large codebooks have."""
    monkeypatch.setattr(codes_triton, "LAUNCHES", ((math.inf, codes_triton.Launch(16, 32, 4, 3)),))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_codes_are_near_enough(size):
    compare(size, torch.float32, "triton", DEVICE)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_parts_of_several_tiles(size, long_parts):
    compare(size, torch.float32, "triton", DEVICE)


def test_codes_that_are_near_to_each_other():
    compare_far_from_the_origin("triton", DEVICE)


def test_what_is_no_number():
    compare_what_is_no_number("triton", DEVICE)


def test_what_is_no_number_in_parts_of_several_tiles(long_parts):
    compare_what_is_no_number("triton", DEVICE)


def test_ties():
    compare_ties("triton", DEVICE)


def test_ties_in_parts_of_several_tiles(long_parts):
    compare_ties("triton", DEVICE)


def test_runs_are_equal_bit_by_bit():
    compare_runs("triton", DEVICE)


def test_torch_library_checks_and_compilation():
    compile_whole("triton", DEVICE)


@pytest.mark.parametrize("metric", METRICS)
def test_narrow_and_mixed_dtypes_are_widened(metric):
    x, codebook = codes_and_rows((33, 129, 9), torch.float32, DEVICE)
    for narrow in (torch.float16, torch.bfloat16):
        found = nearest_code(x.to(narrow), codebook, metric=metric, with_score=True, implementation="triton")
        expected = nearest_code(x.to(narrow).float(), codebook, metric=metric, with_score=True, implementation="triton")
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_no_rows():
    found = nearest_code(torch.zeros(0, 6, device=DEVICE), torch.ones(9, 6, device=DEVICE), implementation="triton")
    assert found.shape == (0,)
