"""Training layouts: grids, streams, and the mask they give."""

import pytest
import torch
from ar_core.block_diffusion import block_diffusion_layout, block_diffusion_mask, block_grid
from ar_core.errors import ConfigError
from safetensors.torch import load_file


def three_terms(length: int, size: int) -> torch.Tensor:
    """The published predicate, element by element: BD, OBC, BC over [noised | clean]."""
    allowed = torch.zeros(2 * length, 2 * length, dtype=torch.bool)
    for q in range(2 * length):
        for k in range(2 * length):
            q_clean, k_clean = q >= length, k >= length
            q_block, k_block = q % length // size, k % length // size
            own_block = q_clean == k_clean and q_block == k_block
            earlier_clean = not q_clean and k_clean and q_block > k_block
            block_causal = q_clean and k_clean and q_block >= k_block
            allowed[q, k] = own_block or earlier_clean or block_causal
    return allowed


@pytest.mark.parametrize(("length", "size"), [(8, 4), (10, 4), (7, 1), (7, 7), (5, 9), (1, 1), (63, 8), (100, 7)])
@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
def test_one_view_has_the_published_mask(length: int, size: int, arrangement) -> None:
    """Oracle 1, tail blocks included."""
    layout = block_diffusion_layout(block_grid(length, size), num_views=1, arrangement=arrangement)
    assert torch.equal(block_diffusion_mask(layout.tokens).dense()[0, 0], three_terms(length, size))


@pytest.mark.golden
def test_masks_equal_the_recorded_ones(golden_dir) -> None:
    """Oracle 1 against the published implementation (text/fdv2_masks)."""
    recorded = {k: v for k, v in load_file(golden_dir / "text" / "fdv2_masks.safetensors").items() if k[:5] == "train"}
    assert recorded
    for name, expected in recorded.items():
        length, size = (int(part[1:]) for part in name.split("_")[1:])
        layout = block_diffusion_layout(block_grid(length, size), arrangement="stacked")
        assert torch.equal(block_diffusion_mask(layout.tokens).dense()[0, 0], expected.bool()), name


@pytest.mark.parametrize(("length", "size"), [(8, 4), (10, 3), (7, 1)])
def test_each_view_of_the_shared_layout_sees_what_it_sees_alone(length: int, size: int) -> None:
    shared = block_diffusion_mask(block_diffusion_layout(block_grid(length, size)).tokens).dense()[0, 0]
    expected = three_terms(length, size)
    clean = slice(2 * length, 3 * length)
    for view in (slice(0, length), slice(length, 2 * length)):
        rows = torch.cat([shared[view, view], shared[view, clean]], dim=1)
        assert torch.equal(rows, expected[:length])
    assert torch.equal(shared[clean, clean], expected[length:, length:])
    assert not shared[:length, length : 2 * length].any()
    assert not shared[length : 2 * length, :length].any()
    assert not shared[clean, : 2 * length].any()


def test_token_causal_clean_stream() -> None:
    layout = block_diffusion_layout(block_grid(6, 4), num_views=1)
    mask = block_diffusion_mask(layout.tokens, clean="token").dense()[0, 0]
    assert torch.equal(mask[6:, 6:], torch.ones(6, 6).tril().bool())
    assert torch.equal(mask[:6], three_terms(6, 4)[:6])


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
def test_one_stream_alone(arrangement) -> None:
    """[view] with noisy context is block-causal, and full where one block covers it; [clean] by token is causal."""
    grid = block_grid(7, 3)
    alone = {"num_views": 1, "has_clean": False, "arrangement": arrangement}
    noisy = block_diffusion_mask(block_diffusion_layout(grid, **alone).tokens, context="noisy").dense()[0, 0]
    assert torch.equal(noisy, three_terms(7, 3)[7:, 7:])
    whole = block_diffusion_mask(block_diffusion_layout(block_grid(7, 7), **alone).tokens).dense()[0, 0]
    assert whole.all()
    clean = block_diffusion_layout(grid, num_views=0, arrangement=arrangement)
    assert torch.equal(block_diffusion_mask(clean.tokens, clean="token").dense()[0, 0], torch.ones(7, 7).tril().bool())


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
@pytest.mark.parametrize(("num_views", "has_clean"), [(1, False), (2, False), (0, True)])
def test_rows_find_tokens_where_a_half_is_left_out(num_views: int, has_clean: bool, arrangement) -> None:
    streams = torch.arange(3 * 2 * 5).view(3, 2, 5)
    layout = block_diffusion_layout(block_grid(5, 2), num_views=num_views, has_clean=has_clean, arrangement=arrangement)
    laid = layout.sequence(list(streams[1 : num_views + 1]), streams[0])
    assert laid.shape[1] == layout.tokens.length
    batch, index = torch.tensor([0, 1, 1]), torch.tensor([4, 0, 3])
    for stream in [*range(1, num_views + 1), *([0] if has_clean else [])]:
        assert torch.equal(laid.flatten()[layout.rows(stream, batch, index, num_rows=2)], streams[stream][batch, index])


def test_grid_counts_from_the_row() -> None:
    grid = block_grid(7, 3)
    assert grid.positions.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert grid.blocks.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert grid.firsts.tolist() == [1, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("restart", [True, False])
def test_grid_counts_from_each_document(restart: bool) -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4, 9]])
    grid = block_grid(8, 2, documents, restart_positions=restart)
    assert grid.blocks.tolist() == [[0, 0, 1, 2, 2, 3, 3, 4], [0, 0, 1, 1, 2, 2, 3, 4]]
    expected = [[0, 1, 2, 0, 1, 0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 0]] if restart else [list(range(8))] * 2
    assert grid.positions.tolist() == expected


def test_grid_of_aligned_documents_is_the_grid_of_the_row() -> None:
    documents = torch.arange(24) // 8
    assert torch.equal(block_grid(24, 4, documents).blocks, block_grid(24, 4).blocks)


@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
def test_documents_do_not_see_each_other(arrangement) -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, 2]])
    layout = block_diffusion_layout(block_grid(5, 2, documents), documents=documents, arrangement=arrangement)
    mask = block_diffusion_mask(layout.tokens).dense()[:, 0]
    owner = layout.tokens["document"]
    assert not (mask & (owner[:, :, None] != owner[:, None, :])).any()
    assert mask.diagonal(dim1=1, dim2=2).all()


@pytest.mark.parametrize("trailing", [(), (6,)])
@pytest.mark.parametrize("arrangement", ["shared", "stacked"])
@pytest.mark.parametrize("num_views", [1, 2])
def test_rows_find_the_tokens_that_sequence_laid(num_views: int, arrangement, trailing) -> None:
    batch, length = 3, 5
    streams = torch.arange(3 * batch * length).view(3, batch, length)
    if trailing:
        streams = streams[..., None].expand(-1, -1, -1, *trailing).float()
    clean, views = streams[0], list(streams[1 : num_views + 1])
    layout = block_diffusion_layout(block_grid(length, 2), num_views=num_views, arrangement=arrangement)
    flat = layout.sequence(views, clean).flatten(0, 1)
    assert layout.sequence(views, clean).shape[1] == layout.tokens.length
    rows, index = torch.tensor([0, 2, 1]), torch.tensor([4, 0, 3])
    for stream in range(num_views + 1):
        found = flat[layout.rows(stream, rows, index, num_rows=batch)]
        assert torch.equal(found, streams[stream][rows, index])


def test_every_stream_repeats_the_positions() -> None:
    documents = torch.tensor([[0, 0, 1], [0, 1, 1]])
    layout = block_diffusion_layout(block_grid(3, 2, documents), documents=documents)
    assert layout.positions.tolist() == [[0, 1, 0] * 3, [0, 0, 1] * 3]
    assert layout.tokens["stream"].tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_views": 3},
            "num_views is 3, but a row has 1 view, 2 complementary ones or, beside the clean stream, none: give 0, 1",
        ),
        ({"num_views": 0, "has_clean": False}, "num_views is 0 and has_clean is False, which leaves no stream"),
        ({"arrangement": "side"}, "arrangement is 'side', but views are 'shared' or 'stacked'"),
    ],
)
def test_other_layouts_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        block_diffusion_layout(block_grid(4, 2), **options)


def test_a_block_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="block size is 0, but a block holds at least one token"):
        block_grid(4, 0)
