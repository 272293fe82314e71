"""Attention inside torch.compile."""

import pytest
import torch
from ar_core.attention import attend, choose
from ar_core.errors import BackendError
from ar_core.masks import Mask, Tokens, block_diffusion


def training(length: int) -> Mask:
    index = torch.arange(length)
    streams = [Tokens(stream=torch.full((length,), s), block=index // 16) for s in (1, 0)]
    return Mask.self_attention(block_diffusion(), Tokens.cat(streams))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["segments", "auto"])
def test_segments_compile_to_one_graph_and_equal_masks_share_it(backend):
    graphs = []

    def count(graph, example):
        graphs.append(graph)
        return graph.forward

    def layer(q, k, v, mask):
        return attend(q, k, v, mask, backend=backend).square().sum()

    compiled = torch.compile(layer, backend=count, fullgraph=True)
    generator = torch.Generator().manual_seed(0)
    for mask in (training(150), training(150)):
        mask.segments()
        shapes = [(1, 4, 300, 8), (1, 2, 300, 8), (1, 2, 300, 8)]
        inputs = [torch.randn(s, generator=generator).requires_grad_() for s in shapes]
        expected = torch.autograd.grad(layer(*inputs, mask), inputs)
        for ours, theirs in zip(torch.autograd.grad(compiled(*inputs, mask), inputs), expected):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert len(graphs) == 1


def test_segments_survive_aot_autograd():
    mask = training(100)
    mask.segments()
    inputs = [torch.ones(1, 2, 200, 8).cumsum(2).div(200).requires_grad_() for _ in range(3)]
    compiled = torch.compile(
        lambda q, k, v: attend(q, k, v, mask, backend="segments"), backend="aot_eager", fullgraph=True
    )
    out = compiled(*inputs)
    torch.testing.assert_close(out, attend(*inputs, mask, backend="sdpa"), rtol=0, atol=1e-6)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), inputs))


def test_unrendered_segments_are_refused_by_name_and_avoided_by_auto(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    mask = training(150)
    q = torch.zeros(1, 2, 300, 8)
    with pytest.raises(BackendError, match=r"call mask.segments\(\)"):
        choose(q, q, mask, "segments")
    assert choose(q, q, mask).name == "sdpa"
    mask.segments()
    assert choose(q, q, mask).name == "segments"
