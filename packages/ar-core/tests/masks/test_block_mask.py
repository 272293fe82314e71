"""One `BlockMask` for all masks of a structure, with neither a batch nor heads where ids are shared by rows."""

import pytest
import torch
from ar_core.masks import Mask, Tokens, bidirectional, block_diffusion, causal, document
from torch.nn.attention.flex_attention import create_block_mask, flex_attention


def streams(length: int, block: int) -> Tokens:
    index = torch.arange(length)
    return Tokens.cat([Tokens(stream=torch.full((length,), s), block=index // block, position=index) for s in (1, 0)])


def training(length: int = 150, block: int = 16) -> Mask:
    return Mask.self_attention(block_diffusion(), streams(length, block))


def test_equal_structures_have_one():
    first = training().block_mask()
    assert training().block_mask() is first
    # An id that the rule does not read changes nothing.
    tokens = streams(150, 16).with_ids(position=torch.zeros(300, dtype=torch.int64))
    assert Mask.self_attention(block_diffusion(), tokens).block_mask() is first
    theirs = create_block_mask(training().predicate(), None, None, 300, 300, "cpu")
    assert first.kv_num_blocks.shape == theirs.kv_num_blocks.shape == (1, 1, 3)
    assert torch.equal(first.to_dense(), theirs.to_dense())


@pytest.mark.parametrize(
    "other",
    [
        lambda: training(151),
        lambda: training(block=17),
        lambda: Mask.self_attention(block_diffusion(clean="token"), streams(150, 16)),
        lambda: Mask.self_attention(
            block_diffusion(), streams(150, 16).with_ids(stream=(torch.arange(300) < 140).long())
        ),
        lambda: Mask(block_diffusion(), streams(150, 16).slice(0, 200), streams(150, 16)),
        lambda: Mask(block_diffusion(), streams(150, 16), streams(150, 60)),
    ],
    ids=["length", "block", "rule", "ids", "queries", "keys"],
)
def test_other_structures_have_their_own(other):
    first, second = training().block_mask(), other().block_mask()
    assert second is not first
    mask = other()
    theirs = create_block_mask(mask.predicate(), None, None, *mask.shape[2:], "cpu")
    assert torch.equal(second.to_dense(), theirs.to_dense())


def test_block_sizes_and_rules_without_ids():
    assert training().block_mask(64) is training().block_mask(64) is not training().block_mask()
    nothing = [Mask.self_attention(~bidirectional(), Tokens(position=torch.arange(n))) for n in (70, 70, 71)]
    first, second, third = (mask.block_mask() for mask in nothing)
    assert first is second is not third


def test_rows_of_their_own_are_rendered_for_each_mask():
    owner = torch.tensor([[0] * 100 + [1] * 50, [0] * 150])
    rows = [
        Mask.self_attention(causal() & document(), Tokens(position=torch.arange(150), document=owner)) for _ in "ab"
    ]
    one, other = (mask.block_mask() for mask in rows)
    assert one is not other
    assert one is rows[0].block_mask()
    assert one.kv_num_blocks.shape == (2, 1, 2)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_ids_that_are_written_over_do_not_reach_what_was_rendered():
    position = torch.arange(300)
    before = Mask.self_attention(causal(), Tokens(position=position)).block_mask()
    position.copy_(position.flip(0))
    after = Mask.self_attention(causal(), Tokens(position=position)).block_mask()
    assert after is not before
    q = torch.randn(1, 1, 300, 16, generator=torch.Generator().manual_seed(0))
    found = flex_attention(q, q, q, block_mask=before)
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_is_rendered_in_inference_mode_serves_training():
    with torch.inference_mode():
        rendered = training(33).block_mask()
    assert training(33).block_mask() is rendered
    assert not any(x.is_inference() for x in (rendered.kv_indices, rendered.full_kv_num_blocks))
    assert not any(cell.cell_contents["block"].is_inference() for cell in rendered.mask_mod.__closure__[:1])


def test_few_are_kept():
    first = training(31).block_mask()
    for length in range(40, 48):
        training(length).block_mask()
    assert training(31).block_mask() is not first


def test_a_compiled_layer_takes_all_masks_of_a_shape_without_compiling_again():
    torch._dynamo.reset()
    graphs = []

    def count(graph, example):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(
        lambda q, blocks: flex_attention(q, q, q, block_mask=blocks), backend=count, fullgraph=True
    )
    q = torch.randn(1, 1, 300, 16, generator=torch.Generator().manual_seed(0))
    for mask in (training(), training(), training(block=10)):
        compiled(q, mask.block_mask())
    assert len(graphs) == 1
