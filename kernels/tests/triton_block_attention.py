"""The Triton kernels of block attention: on a GPU, or under the interpreter as `test_triton.py` runs them."""

import itertools

import pytest
import torch
from ar_kernels import block_attention, block_diffusion_attention
from ar_kernels.block_attention import cached_triton, training_triton
from ar_kernels.block_attention.reference import training_mask
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

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAMES = {"ids": lambda size: "x".join(map(str, size))}


@pytest.mark.parametrize("size", CACHED, **NAMES)
def test_a_window_over_a_cache_equals_the_reference(size):
    for tile in TILES:
        compare_cached(size, tile, torch.float32, "triton", DEVICE)


@pytest.fixture
def small_tiles(monkeypatch):
    """Many tiles in few tokens, and other ones of queries than of keys."""
    sizes = training_triton.Launch(32, 16, 4, 1)
    monkeypatch.setattr(training_triton, "NARROW", dict.fromkeys(training_triton.NARROW, sizes))


@pytest.mark.parametrize("size", TRAINING, **NAMES)
def test_the_training_form_and_its_gradients_equal_the_reference(size, small_tiles):
    compare_training(size, RULES[sum(size) % len(RULES)], torch.float32, "triton", DEVICE)


@pytest.mark.parametrize("rule", RULES, ids="-".join)
def test_every_rule_over_several_tiles_and_views(rule):
    compare_training((70, 8, 2, 2, 2, 1, 8, 2), rule, torch.float32, "triton", DEVICE)


@pytest.mark.parametrize("rule", RULES, ids="-".join)
@pytest.mark.parametrize("documents", [1, 3])
@pytest.mark.parametrize("sizes", [(16, 16), (32, 16), (16, 32)], ids=str)
def test_tiles_are_seen_and_whole_where_the_mask_says_so(sizes, documents, rule):
    ids = training_ids(100, 8, 2, documents, "cpu")
    order = ids["position"] if rule[0] == "token" else ids["block"]
    document = ids["document"] if documents > 1 else None
    packed = torch.stack([ids["stream"], ids["block"], order, *([] if document is None else [document])])
    may, whole = training_triton._tiles(packed, training_triton.Launch(*sizes, 4, 1), rule[1] == "noisy")
    allowed = training_mask(ids["stream"], ids["block"], order, document, rule[1])[0, 0]
    assert may.shape == whole.shape == (1, -(-300 // sizes[0]), -(-300 // sizes[1]))
    for i, j in itertools.product(range(may.shape[1]), range(may.shape[2])):
        part = allowed[i * sizes[0] : (i + 1) * sizes[0], j * sizes[1] : (j + 1) * sizes[1]]
        assert may[0, i, j] or not part.any()
        assert not whole[0, i, j] or (part.all() and part.shape[1] == sizes[1])
    # Neither is said of everything, or of nothing; documents of 33 tokens hardly hold a whole tile.
    assert 0 < whole.sum() + documents - 1 < may.sum() < may.numel()


def test_the_number_of_parts_changes_nothing_but_rounding(monkeypatch):
    given = cached_case((2, 4, 2, 5, 600, 16), "tree", torch.float32, DEVICE)
    found = []
    for programs in (1, 8, 256):
        monkeypatch.setattr(cached_triton, "PROGRAMS", programs)
        found.append(block_attention(*given, implementation="triton"))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=1e-5)


def test_blind_queries_give_zero_and_so_do_rows_without_slots():
    q, k, v, *_ = cached_case((2, 2, 1, 3, 300, 4), "none", torch.float32, DEVICE)
    blind = torch.zeros(1, 3, 3, dtype=torch.bool, device=DEVICE)
    places = torch.tensor([0, 0], device=DEVICE), torch.tensor([3, 0], device=DEVICE)
    assert not block_attention(q, k, v, *places, blind, implementation="triton").any()


def test_edges_of_the_arguments():
    compare_edges("triton", DEVICE)


def test_slots_that_are_not_there_are_not_seen():
    q, k, v, *_ = cached_case((2, 2, 1, 3, 130, 4), "none", torch.float32, DEVICE)
    # The slots behind those that the cache has are not numbers.
    stored = [torch.cat([x, torch.full_like(x, float("nan"))], 2) for x in (k, v)]
    k, v = (x[:, :, :130] for x in stored)
    start = torch.zeros(2, dtype=torch.int64, device=DEVICE)
    found, expected = (
        block_attention(q, k, v, start, torch.tensor(visible, device=DEVICE), implementation="triton")
        for visible in ([200, -5], [130, 0])
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("width", [65, 129, 160])
def test_wide_heads(width):
    for tile in ("none", "tree"):
        compare_cached((2, 2, 1, 3, 130, width), tile, torch.float32, "triton", DEVICE)
    size = (20, 4, 1, 1, 2, 1, width, 2)
    assert training_triton._launches(torch.empty(1, 1, 1, width)) is training_triton.WIDE
    compare_training(size, RULES[0], torch.float32, "triton", DEVICE)


def test_runs_are_equal_bit_by_bit(small_tiles):
    compare_cached_runs("triton", DEVICE)
    compare_training_runs("triton", DEVICE)


def test_torch_library_checks_and_compilation():
    compile_whole("triton", DEVICE)


def test_tiles_that_are_hidden_whole_are_not_computed(monkeypatch):
    """Where a product were made, values that are not numbers would spread, though their weight is 0."""
    tile = 32
    sizes = dict.fromkeys(training_triton.NARROW, training_triton.Launch(tile, tile, 4, 1))
    monkeypatch.setattr(training_triton, "NARROW", sizes)
    length = 4 * tile
    ids = training_ids(length, 8, 1, 1, DEVICE)
    q, k, v = torch.randn(3, 1, 1, 2 * length, 8, generator=torch.Generator().manual_seed(0)).to(DEVICE).unbind(0)
    v[:, :, tile : 2 * tile] = float("nan")
    found = block_diffusion_attention(q, k, v, ids["stream"], ids["block"], implementation="triton")
    blind = torch.isfinite(found).all(-1)[0, 0].view(-1, tile).all(-1).tolist()
    # Only the second noised tile sees itself; no clean query sees a noised key.
    assert blind == [True, False, True, True, True, True, True, True]
    v = torch.where(torch.isnan(v), 0, v)
    v[:, :, length + 2 * tile :] = float("nan")
    found = block_diffusion_attention(q, k, v, ids["stream"], ids["block"], implementation="triton")
    seen = torch.isfinite(found).all(-1)[0, 0].view(-1, tile).all(-1).tolist()
    # The last two clean tiles: seen by themselves, and by noised queries behind their first blocks.
    assert seen == [True, True, False, False, True, True, False, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda dtype: str(dtype)[6:])
def test_narrow_dtypes(dtype):
    if dtype == torch.bfloat16 and DEVICE == "cpu":
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 as integers")
    compare_cached((2, 4, 2, 8, 100, 16), "tree", dtype, "triton", DEVICE)
    compare_training((40, 8, 1, 1, 2, 1, 16, 2), RULES[0], dtype, "triton", DEVICE)


@pytest.mark.parametrize("rule", RULES, ids="-".join)
@pytest.mark.parametrize("place", ["far apart", "negative"])
def test_ids_of_64_bits_and_negative_ones(place, rule, small_tiles):
    """Ids that 32 bits would merge; and negative streams, whose queries are clean and whose keys nobody sees."""
    generator = torch.Generator().manual_seed(0)
    shift = 2**32 if place == "far apart" else 1
    low = 0 if place == "far apart" else -1
    ids = [torch.randint(low, 3, (2, 70), generator=generator) * shift for _ in range(3)]
    ids.append(torch.randint(low, 1, (2, 70), generator=generator) * shift)
    # Tiles of one id each, which may be whole.
    ids = [torch.cat([one, first[:, None].expand(-1, 32), last[:, None].expand(-1, 48)], 1) for one, first, last in
           ((one, one.amin(1), one.amax(1)) for one in ids)]  # fmt: skip
    x = torch.randn(3, 2, 1, 150, 8, generator=generator).to(DEVICE)
    found, expected = (
        block_diffusion_attention(*x, *(one.to(DEVICE) for one in ids), context=rule[1], implementation=implementation)
        for implementation in ("triton", "torch")
    )
    torch.testing.assert_close(found, expected.nan_to_num(), atol=1e-5, rtol=1e-5)
