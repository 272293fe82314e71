"""Both forms of `confidence`: against first principles and float64, in pieces, compiled, and refused."""

import pytest
import torch
from ar_kernels import confidence, confidence_from_hidden
from ar_kernels.confidence import from_hidden, from_logits
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


def test_reference_equals_the_definition_in_float64():
    logits = torch.randn(7, 63, generator=torch.Generator().manual_seed(0))
    banned = (3, 11)
    got = reference(logits, temperature=0.7, banned_ids=banned)
    z = logits.double() / 0.7
    z[:, list(banned)] = -torch.inf
    p = z.softmax(-1)
    first, second = p.sort(descending=True).values[:, :2].unbind(1)
    assert torch.equal(got.token, p.argmax(-1))
    torch.testing.assert_close(got.probability.double(), first, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got.margin.double(), first - second, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got.entropy.double(), torch.special.entr(p).sum(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_both_forms_equal_the_reference(size, dtype, monkeypatch):
    # Pieces of a few ids, so that there are several.
    monkeypatch.setattr(from_logits, "PIECE", 40 * size[0])
    monkeypatch.setattr(from_hidden, "PIECE", 30)
    monkeypatch.setattr(from_hidden, "FEWEST_IDS", 37)
    compare_logits(size[0], size[1], dtype, "torch", "cpu")
    settings = [{}, {"cap": 4.0}, {"scale": 0.4}][sum(size) % 3]
    compare_hidden(size, dtype, "torch", "cpu", **settings)


def test_bfloat16_logits_are_those_of_the_models_head():
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 16, generator=generator).bfloat16() for n in (9, 700))
    found, expected = confidence_from_hidden(hidden, weight), confidence(hidden @ weight.T)
    assert torch.equal(found.token, expected.token)
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert expected.probability.dtype == torch.float32


def test_a_single_id_left_is_certain():
    for got in (
        confidence(torch.zeros(1, 3), banned_ids=(0, 2)),
        confidence_from_hidden(torch.ones(1, 2), torch.ones(3, 2), banned_ids=(0, 2)),
    ):
        assert got.token.item() == 1
        assert got.probability.item() == 1
        assert got.entropy.item() == 0
        assert got.margin.item() == 1


def test_ties_and_no_rows(monkeypatch):
    monkeypatch.setattr(from_logits, "PIECE", 4)
    ties = torch.zeros(2, 20)
    ties[0, 5] = ties[0, 15] = 3.0
    assert confidence(ties).token.tolist() == [5, 0]
    assert confidence(torch.zeros(0, 9)).token.shape == (0,)
    assert confidence_from_hidden(torch.zeros(0, 4), torch.zeros(9, 4)).entropy.shape == (0,)


def test_rows_that_are_no_numbers(monkeypatch):
    compare_rows_that_are_no_numbers("torch", "cpu")
    monkeypatch.setattr(from_logits, "PIECE", 300)
    monkeypatch.setattr(from_hidden, "PIECE", 30)
    monkeypatch.setattr(from_hidden, "FEWEST_IDS", 37)
    compare_rows_that_are_no_numbers("torch", "cpu")


def test_logits_are_left_as_they_are():
    for dtype in (torch.float32, torch.bfloat16):
        logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
        before = logits.clone()
        confidence(logits, banned_ids=(1,))
        assert torch.equal(logits, before)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size[:2])))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_gradients_equal_the_references(size, dtype):
    compare_gradients(size[0], size[1], dtype, "torch", "cpu")


def test_every_number_has_a_gradient_of_its_own():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 30, generator=generator, dtype=torch.float64).requires_grad_()
    options = {"temperature": 0.7, "banned_ids": (4,)}
    for name in ("probability", "entropy", "margin"):
        found, expected = (
            torch.autograd.grad(getattr(op(logits, **options), name).square().sum(), logits)[0]
            for op in (confidence, reference)
        )
        assert torch.allclose(found, expected, atol=1e-12), name
        assert found.abs().sum() > 0


def test_torch_library_checks_and_compilation():
    compile_whole("torch", "cpu")


def test_runs_are_equal_bit_by_bit(monkeypatch):
    monkeypatch.setattr(from_logits, "PIECE", 200)
    monkeypatch.setattr(from_hidden, "PIECE", 30)
    monkeypatch.setattr(from_hidden, "FEWEST_IDS", 37)
    compare_runs("torch", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.zeros(3)}, r"shape \[R, V\], got \(3,\)"),
        ({"logits": torch.zeros(1, 3), "temperature": 0.0}, "positive temperature, got 0.0"),
        ({"logits": torch.zeros(1, 3), "temperature": float("nan")}, "positive temperature, got nan"),
        ({"logits": torch.zeros(1, 3), "banned_ids": (3,)}, "banned id 3 is outside of the vocabulary 0..2"),
        ({"logits": torch.zeros(1, 2), "banned_ids": (0, 1)}, "all 2 ids are banned"),
        ({"logits": torch.zeros(1, 2), "implementation": "fast"}, "give auto, torch or triton"),
        ({"logits": torch.zeros(1, 2).double(), "implementation": "triton"}, "was given float64"),
    ],
    ids=["shape", "temperature", "nan", "outside", "all-banned", "implementation", "float64"],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence(arguments.pop("logits"), **arguments)


def test_bad_heads_are_named():
    with pytest.raises(ValueError, match=r"give \[R, C\] and \[V, C\] of one dtype"):
        confidence_from_hidden(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="cap is 0"):
        confidence_from_hidden(torch.zeros(2, 3), torch.zeros(4, 3), cap=0.0)
