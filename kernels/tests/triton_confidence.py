"""The Triton kernels of `confidence`: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import math

import pytest
import torch
from ar_kernels import confidence, confidence_from_hidden
from ar_kernels.confidence import head_triton, online_triton, rows_triton
from ar_kernels.confidence.reference import reference
from comparing import SIZES
from confidence_cases import (
    compare_gradients,
    compare_hidden,
    compare_logits,
    compare_rows_that_are_no_numbers,
    compare_runs,
    compile_whole,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def long_parts(monkeypatch):
    """Few parts of many small tiles, as only large vocabularies have."""
    monkeypatch.setattr(rows_triton, "TILE", 64)
    monkeypatch.setattr(rows_triton, "PROGRAMS", 10)
    monkeypatch.setattr(head_triton, "LAUNCHES", ((math.inf, head_triton.Launch(16, 32, 16, 4, 1, 3)),))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_parts_of_several_tiles(size, long_parts):
    compare_logits(size[0], size[1], torch.float32, "triton", DEVICE)
    settings = [{}, {"cap": 4.0}, {"scale": 0.4}][sum(size) % 3]
    compare_hidden(size, torch.float32, "triton", DEVICE, **settings)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_both_forms_equal_the_reference(size):
    compare_logits(size[0], size[1], torch.float32, "triton", DEVICE)
    settings = [{}, {"cap": 4.0}, {"scale": 0.4}][sum(size) % 3]
    compare_hidden(size, torch.float32, "triton", DEVICE, **settings)
    compare_gradients(size[0], size[1], torch.float32, "triton", DEVICE)


def test_torch_library_checks_and_compilation():
    compile_whole("triton", DEVICE)


def test_runs_are_equal_bit_by_bit():
    compare_runs("triton", DEVICE)


def test_the_lowest_id_wins_a_tie_within_a_tile_and_across():
    ties = torch.zeros(2, 2048, device=DEVICE)
    ties[0, 5] = ties[0, 1500] = 3.0
    assert confidence(ties, implementation="triton").token.tolist() == [5, 0]
    same = torch.ones(300, 4, device=DEVICE)
    found = confidence_from_hidden(torch.ones(3, 4, device=DEVICE), same, banned_ids=(0, 1), implementation="triton")
    assert found.token.tolist() == [2, 2, 2]
    assert found.margin.tolist() == [0, 0, 0]


def test_tiles_of_banned_ids_alone():
    logits = torch.randn(2, 2500, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found = confidence(logits, banned_ids=range(1024), implementation="triton")
    assert torch.equal(found.token, logits[:, 1024:].argmax(1) + 1024)
    weight = torch.randn(200, 8, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    hidden = torch.randn(2, 8, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    found = confidence_from_hidden(hidden, weight, banned_ids=range(130), implementation="triton")
    assert torch.equal(found.token, (hidden @ weight[130:].T).argmax(1) + 130)
    assert torch.isfinite(found.entropy).all()


def test_tiles_of_banned_ids_and_ties_within_a_part(long_parts):
    ties = torch.zeros(2, 400, device=DEVICE)
    ties[0, 150] = ties[0, 200] = 2.0
    found = confidence(ties, banned_ids=range(70), implementation="triton")
    assert found.token.tolist() == [150, 70]
    assert found.margin.tolist() == [0, 0]
    logits = torch.randn(2, 400, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found = confidence(logits, banned_ids=range(70), implementation="triton")
    assert torch.equal(found.token, logits[:, 70:].argmax(1) + 70)
    expected = reference(logits.double(), banned_ids=range(70))
    torch.testing.assert_close(found.entropy.double(), expected.entropy, rtol=1e-5, atol=0)


def test_rows_that_are_no_numbers():
    compare_rows_that_are_no_numbers("triton", DEVICE)


def test_rows_that_are_no_numbers_in_parts_of_several_tiles(long_parts):
    compare_rows_that_are_no_numbers("triton", DEVICE)


def test_banned_ids_on_a_device_are_never_given_up():
    """A captured graph reads them where they were."""
    first = online_triton.banned_on((1, 2), torch.device(DEVICE))
    for other in range(200):
        online_triton.banned_on((other,), torch.device(DEVICE))
    assert online_triton.banned_on((1, 2), torch.device(DEVICE)) is first


def test_strided_logits():
    wide = torch.randn(4, 200, generator=torch.Generator().manual_seed(0)).to(DEVICE)[:, ::2]
    assert torch.equal(confidence(wide, implementation="triton").token, wide.argmax(-1))
