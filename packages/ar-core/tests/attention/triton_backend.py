"""The backend `triton`: on a GPU, or under the interpreter as `test_triton.py` runs it."""

import pytest
import torch
from ar_core.attention import attend, choose
from ar_core.errors import BackendError
from ar_core.masks import Mask, Tokens, bidirectional, block_diffusion, causal, document, tree, tree_intervals


def test_passes_and_training_equal_attention_written_out(mask, tensors, reference):
    """Every mask of the folder that it accepts; longer ones are cut to the queries of a pass."""
    if mask.shape[2] > 256 and "block_diffusion" not in repr(mask.rule):
        queries = mask.queries.slice(mask.shape[2] - 40, mask.shape[2])
        mask = Mask(mask.rule, queries, mask.keys)
    inputs = tensors(mask, dtype=torch.float32)
    out = attend(*inputs, mask, backend="triton")
    torch.testing.assert_close(out, reference(*inputs, mask), rtol=0, atol=3e-6)


@pytest.mark.parametrize("rule", ["plain", "& document", "document &", "token", "noisy"])
def test_gradients_of_training(tensors, reference, rule):
    index = torch.arange(40)
    ids = {"block": index // 8, "position": index, "document": index // 24}
    streams = [Tokens(stream=torch.full((40,), s), **ids) for s in (1, 2, 0)]
    rules = {
        "plain": block_diffusion(),
        "& document": block_diffusion() & document(),
        "document &": document() & block_diffusion(),
        "token": block_diffusion(clean="token"),
        "noisy": block_diffusion(context="noisy"),
    }
    mask = Mask.self_attention(rules[rule], Tokens.cat(streams))
    inputs, twins = (tensors(mask, dtype=torch.float32, grad=True) for _ in range(2))
    out, expected = attend(*inputs, mask, backend="triton"), reference(*twins, mask)
    torch.testing.assert_close(out, expected, rtol=0, atol=3e-6)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((out * weight).sum(), inputs)
    for one, other in zip(found, torch.autograd.grad((expected * weight).sum(), twins), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_trees_and_full_windows(tensors, reference):
    enter, leave = tree_intervals([-1, 0, 0, 1, 1])
    slots = Tokens(
        position=torch.arange(9),
        enter=torch.cat([torch.zeros(4).long(), enter]),
        exit=torch.cat([torch.full((4,), 99), leave]),
    )
    candidates = Mask(tree(), slots.slice(4, 9), slots)
    full = Mask(bidirectional(), slots.slice(4, 9), slots)
    for mask in (candidates, full, None):
        shape = mask if mask is not None else full
        inputs = tensors(shape, dtype=torch.float32)
        out = attend(*inputs, mask, backend="triton")
        torch.testing.assert_close(out, reference(*inputs, shape), rtol=0, atol=3e-6)


def test_what_it_cannot_do_is_named(tensors):
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(300)))
    for options, message in (
        ({"grad": True, "dtype": torch.float32}, "with gradients it computes block_diffusion"),
        ({"dtype": torch.float32}, "300 queries are more than the 256"),
        ({}, "compute in float32 and were given float64"),
    ):
        with pytest.raises(BackendError, match=message):
            attend(*tensors(mask, **options), mask, backend="triton")
    assert choose(*tensors(mask)[:2], mask).name != "triton"
