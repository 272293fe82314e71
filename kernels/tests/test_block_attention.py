"""Both forms of block attention: against float64, ragged rows, blind queries, compiled, and refused."""

import pytest
import torch
from ar_kernels import block_attention, block_diffusion_attention
from ar_kernels.block_attention.reference import attention, cached_mask, training_mask
from attention_cases import (
    CACHED,
    RULES,
    TILES,
    TRAINING,
    cached_case,
    compare_cached,
    compare_cached_runs,
    compare_edges,
    compare_training,
    compare_training_runs,
    compile_whole,
    training_ids,
)

NAMES = {"ids": lambda size: "x".join(map(str, size))}
DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("size", CACHED, **NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_a_window_over_a_cache_equals_the_reference(size, dtype):
    for tile in TILES:
        compare_cached(size, tile, dtype, "torch", "cpu")


@pytest.mark.parametrize("size", TRAINING, **NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_the_training_form_equals_the_reference(size, dtype):
    compare_training(size, RULES[sum(size) % len(RULES)], dtype, "auto", "cpu")


def test_the_references_are_what_their_words_say():
    start, visible = torch.tensor([0, 2]), torch.tensor([2, 5])
    tile = torch.tensor([[[True, False], [True, True]]])
    drawn = [
        ["".join(".#"[int(cell)] for cell in line) for line in row[0]]
        for row in cached_mask(start, visible, 2, 6, tile)
    ]
    assert drawn == [["#.....", "##...."], ["###.#.", "#####."]]
    ids = training_ids(4, 2, 1, 1, "cpu")
    seen = training_mask(ids["stream"], ids["block"], ids["block"], None, "clean")[0, 0]
    assert ["".join(".#"[int(cell)] for cell in line) for line in seen] == [
        "##......", "##......", "..####..", "..####..", "....##..", "....##..", "....####", "....####",
    ]  # fmt: skip
    q, k, v = (torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(n)) for n in range(3))
    allowed = torch.tensor([[True, False, False], [False, False, False], [True, True, True]])[None, None]
    found = attention(q, k, v, allowed, 0.5)
    assert torch.allclose(found[:, :, 0], v[:, :, 0])
    assert not found[:, :, 1].any()


def test_a_query_that_sees_nothing_gives_zero_and_rows_may_see_nothing():
    q, k, v, start, *_ = cached_case((2, 2, 1, 3, 20, 4), "none", torch.float32, "cpu")
    blind = torch.zeros(1, 3, 3, dtype=torch.bool)
    found = block_attention(q, k, v, torch.tensor([0, 0]), torch.tensor([3, 0]), blind)
    assert not found.any()
    found = block_attention(q, k, v, start, torch.tensor([0, 7]))
    assert not found[0].any()
    assert found[1].any()


def test_edges_of_the_arguments():
    compare_edges("torch", "cpu")


def test_strided_caches_and_rows_at_one_place():
    q, k, v, *_ = cached_case((3, 4, 2, 5, 40, 8), "none", torch.float32, "cpu")
    stored = torch.stack([k, v]).transpose(2, 3).contiguous().transpose(2, 3)
    start, visible = torch.full((3,), 7), torch.full((3,), 12)
    found = block_attention(q, *stored, start, visible)
    expected = attention(q, k, v, cached_mask(start, visible, 5, 40, None), 8**-0.5)
    assert torch.allclose(found, expected, atol=1e-6)


def test_torch_library_checks_and_compilation():
    compile_whole("torch", "cpu")


def test_runs_are_equal_bit_by_bit():
    compare_cached_runs("torch", "cpu")
    compare_training_runs("torch", "cpu")


def test_what_cannot_be_computed_is_named():
    q, k, v, start, visible, _ = cached_case((2, 4, 2, 3, 10, 4), "none", torch.float32, "cpu")
    good = {"q": q, "k": k, "v": v, "start": start, "visible": visible}
    for changed, message in (
        ({"rows": torch.zeros(3, dtype=torch.int64)}, r"rows is torch.int64 \(3,\): give int64 \[2\]"),
        ({"k": k[..., :3]}, r"give \[B, H, Q, D\] and twice"),
        ({"q": q[:, :3]}, "3 query heads do not share 2 key heads evenly"),
        ({"q": torch.zeros(2, 4, 257, 4)}, "a window of 257 queries is longer than 256"),
        ({"start": start.int()}, r"start is torch.int32 \(2,\): give int64 \[2\]"),
        ({"visible": visible[:1]}, "visible is torch.int64"),
        ({"tile": torch.ones(2, 2, 3, dtype=torch.bool)}, r"give bool \[2 or 1, 3, W\]"),
        ({"implementation": "fast"}, "give auto, torch or triton"),
        (
            {"implementation": "triton", **{n: good[n].double() for n in "qkv"}},
            "computes in float32 and was given float64",
        ),
        ({"q": q.clone().requires_grad_()}, "has no gradients"),
        ({"k": k.half()}, "queries are torch.float32, keys torch.float16 and values torch.float32: give one dtype"),
        ({"v": v.to("meta")}, "queries are on cpu, keys on cpu and values on meta: give one device"),
        ({"visible": visible * 0 + 11}, "visible lies between 11 and 11 and must lie between 0 and 10"),
        ({"visible": visible * 0 - 1}, "visible lies between -1 and -1"),
        ({"rows": torch.tensor([0, 2])}, "rows lies between 0 and 2 and must lie between 0 and 1"),
        ({"rows": torch.tensor([-1, 0])}, "rows lies between -1 and 0"),
    ):
        with pytest.raises(ValueError, match=message):
            block_attention(**{**good, **changed})
    ids = training_ids(4, 2, 1, 1, "cpu")
    x = torch.zeros(1, 4, 8, 4)
    good = {"q": x, "k": x[:, :2], "v": x[:, :2], "stream": ids["stream"], "block": ids["block"]}
    for changed, message in (
        ({"v": x[:, :1]}, r"give \[B, H, T, D\] and twice"),
        ({"q": x.double()}, "queries are torch.float64, keys torch.float32 and values torch.float32: give one dtype"),
        ({"k": x[:, :2].to("meta")}, "queries are on cpu, keys on meta and values on cpu: give one device"),
        ({"q": x[:, :3]}, "3 query heads"),
        ({"context": "some"}, "give clean or noisy"),
        ({"block": ids["block"][0]}, r"block is torch.int64 \(8,\): give int64 \[1 or 1, 8\]"),
        ({"document": ids["block"].int()}, "document is torch.int32"),
        ({"implementation": "fast"}, "give auto, torch or triton"),
        (
            {"implementation": "triton", **{n: good[n].double() for n in "qkv"}},
            "computes in float32 and was given float64",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            block_diffusion_attention(**{**good, **changed})
