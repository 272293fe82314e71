"""`nearest_code` and `nearest_bits`: against first principles and float64, in pieces, compiled, and refused."""

import itertools

import pytest
import torch
from ar_kernels import code_of_bits, nearest_bits, nearest_code
from ar_kernels.nearest_code import screening
from ar_kernels.nearest_code.reference import reference
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


@pytest.fixture
def small_pieces(monkeypatch):
    """Several pieces of rows, groups of codes and slices of candidates."""
    monkeypatch.setattr(screening, "PIECE", 100)
    monkeypatch.setattr(screening, "FEWEST_ROWS", 3)
    monkeypatch.setattr(screening, "GROUP", 8)
    monkeypatch.setattr(screening, "PAIRS", 50)


def test_reference_equals_the_definition():
    x, codebook = codes_and_rows((7, 30, 5), torch.float64, "cpu")
    ids, squared = reference(x, codebook)
    distances = torch.stack([torch.stack([torch.dist(one, code) for code in codebook]) for one in x])
    assert torch.equal(ids, distances.argmin(1))
    torch.testing.assert_close(squared, distances.amin(1).square())
    ids, cosine = reference(x, codebook, metric="cosine")
    cosines = torch.cosine_similarity(x[:, None], codebook[None], dim=2)
    torch.testing.assert_close(cosine, cosines.amax(1))
    torch.testing.assert_close(cosines.gather(1, ids[:, None])[:, 0], cosine)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_codes_are_those_of_float64(size, dtype):
    compare(size, dtype, "torch", "cpu")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_codes_are_those_of_float64_in_small_pieces(size, small_pieces):
    compare(size, torch.float32, "torch", "cpu")


def test_codes_that_are_near_to_each_other():
    compare_far_from_the_origin("torch", "cpu")


def test_neighbours_among_floats_are_told_apart_beside_codes_that_are_far_away():
    """All neighbours are candidates of products, which cannot tell them apart here, and float64 can."""
    near = torch.full((64, 3), 0.1)
    near[:, 0] = (near[:, 0].view(torch.int32) + torch.arange(64, dtype=torch.int32)).view(torch.float32)
    codebook = torch.cat([near, 100 * torch.randn(64, 3, generator=torch.Generator().manual_seed(0))])
    order = torch.randperm(128, generator=torch.Generator().manual_seed(1))
    x = codebook[order]
    products = (codebook.square().sum(1) - 2 * x @ codebook.T).argmin(1)
    assert not torch.equal(products, order)
    assert torch.equal(nearest_code(x, codebook), order)


def test_what_is_no_number():
    compare_what_is_no_number("torch", "cpu")


def test_what_is_no_number_in_small_pieces(small_pieces):
    compare_what_is_no_number("torch", "cpu")


def test_ties():
    compare_ties("torch", "cpu")


def test_ties_in_small_pieces(small_pieces):
    compare_ties("torch", "cpu")


def test_runs_are_equal_bit_by_bit(small_pieces):
    compare_runs("torch", "cpu")


def test_torch_library_checks_and_compilation():
    compile_whole("torch", "cpu")


def test_a_row_has_its_code_whatever_rows_are_beside_it():
    x, codebook = codes_and_rows((129, 500, 12), torch.float32, "cpu")
    for metric in METRICS:
        together = nearest_code(x, codebook, metric=metric, with_score=True)
        alone = [nearest_code(one[None], codebook, metric=metric, with_score=True) for one in x]
        for one, other in zip(together, map(torch.cat, zip(*alone)), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("metric", METRICS)
def test_narrow_and_mixed_dtypes_are_widened(metric):
    x, codebook = codes_and_rows((33, 129, 9), torch.float32, "cpu")
    for narrow in (torch.float16, torch.bfloat16):
        for one, other in ((x.to(narrow), codebook), (x, codebook.to(narrow)), (x.to(narrow), codebook.to(narrow))):
            ids, score = nearest_code(one, other, metric=metric, with_score=True)
            expected = nearest_code(one.float(), other.float(), metric=metric, with_score=True)
            assert score.dtype == torch.float32
            assert torch.equal(ids, expected[0])
            assert torch.equal(score, expected[1])
    assert nearest_code(x, codebook.double(), metric=metric, with_score=True)[1].dtype == torch.float64


@pytest.fixture
def products_of_few_bits():
    """What a user allows for all of torch; some processors then multiply in bfloat16."""
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    yield
    settings.fp32_precision = before


@pytest.mark.parametrize("metric", METRICS)
def test_products_of_few_bits_change_nothing(metric, products_of_few_bits):
    x, codebook = codes_and_rows((400, 8000, 33), torch.float32, "cpu")
    expected = nearest_code(x.double(), codebook.double(), metric=metric)
    assert torch.equal(nearest_code(x, codebook, metric=metric), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_autocast_changes_nothing(metric):
    x, codebook = codes_and_rows((400, 8000, 33), torch.float32, "cpu")
    expected = nearest_code(x.double(), codebook.double(), metric=metric)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest_code(x, codebook, metric=metric), expected)


def test_no_rows_and_strides():
    codebook = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    assert nearest_code(torch.zeros(0, 6), codebook).shape == (0,)
    wide = torch.randn(6, 20, generator=torch.Generator().manual_seed(1)).T
    assert torch.equal(nearest_code(wide, codebook), nearest_code(wide.contiguous(), codebook))
    assert torch.equal(nearest_code(wide[:, ::2], codebook[:, ::2]), reference(wide[:, ::2], codebook[:, ::2])[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(3)}, r"rows \(3,\) and a codebook \(4, 2\): give \[N, C\] and \[V, C\]"),
        ({"x": torch.zeros(3, 3)}, r"rows \(3, 3\) and a codebook \(4, 2\)"),
        ({"codebook": torch.zeros(0, 2)}, r"V and C positive"),
        ({"x": torch.zeros(3, 0), "codebook": torch.zeros(4, 0)}, r"V and C positive"),
        ({"x": torch.zeros(3, 2, dtype=torch.int64)}, "rows torch.int64 on cpu .*: give floating dtypes on one device"),
        ({"codebook": torch.zeros(4, 2, device="meta")}, "on meta: give floating dtypes on one device"),
        ({"metric": "l2"}, "metric is 'l2': give euclidean or cosine"),
        ({"implementation": "fast"}, "give auto, torch or triton"),
        ({"codebook": torch.zeros(4, 2).double(), "implementation": "triton"}, "was given float64"),
    ],
    ids=["shape", "width", "no-code", "no-column", "dtype", "device", "metric", "implementation", "float64"],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nearest_code(**{"x": torch.zeros(3, 2), "codebook": torch.zeros(4, 2), **arguments})


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_bits_are_the_nearest_of_all_vectors_of_signs(width):
    bits = torch.tensor(list(itertools.product([0, 1], repeat=width)))
    codes = code_of_bits(bits)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(2**width))
    x = torch.randn(50, width, generator=torch.Generator().manual_seed(width))
    # Exact zeros, as near to both signs: bit 0, which has the lower id here.
    x[::3, 0] = 0
    found = nearest_bits(x)
    assert found.dtype == torch.bool
    for metric in METRICS:
        assert torch.equal(bits[nearest_code(x, codes, metric=metric)].bool(), found)


def test_bits_and_their_codes():
    assert nearest_bits(torch.tensor([[1e-30, -0.0, float("nan"), float("inf")]])).tolist() == [
        [True, False, False, True]
    ]
    code = code_of_bits(torch.tensor([[True, False]]), dtype=torch.float64)
    assert code.dtype == torch.float64
    torch.testing.assert_close(code, torch.tensor([[0.5**0.5, -(0.5**0.5)]], dtype=torch.float64))
    assert torch.equal(nearest_bits(code), torch.tensor([[True, False]]))
