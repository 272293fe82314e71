"""What "auto" takes, and what explicit requests are refused."""

import pytest
import torch
from ar_core.attention import BACKENDS, attend, choose, triton
from ar_core.errors import BackendError
from ar_core.masks import Mask, Tokens, bidirectional, block_diffusion, causal, document, padding
from torch._subclasses.fake_tensor import FakeTensorMode


def inputs(mask: Mask, **options) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    _, _, queries, keys = mask.shape
    return tuple(torch.zeros(1, 2, n, 8, **options) for n in (queries, keys, keys))


def sequence(length: int) -> Tokens:
    return Tokens(position=torch.arange(length))


def training(length: int) -> Mask:
    index = torch.arange(length)
    streams = [Tokens(stream=torch.full((length,), s), block=index // 16) for s in (1, 2, 0)]
    return Mask.self_attention(block_diffusion(), Tokens.cat(streams))


def test_auto_without_anything_hidden():
    mask = Mask.self_attention(bidirectional(), sequence(300))
    q, k, _ = inputs(mask)
    assert choose(q, k, mask) == choose(q, k, None) == ("sdpa", "nothing is hidden")


def test_auto_for_a_decoding_pass():
    keys = sequence(500)
    mask = Mask(causal(), keys.slice(468, 500), keys)
    q, k, _ = inputs(mask)
    assert choose(q, k, mask) == ("sdpa", "32 queries are too few to gain from skipping what is hidden")


@pytest.mark.parametrize("grad", [False, True])
def test_auto_for_training_on_a_cpu(grad):
    mask = training(200)
    q, k, v = inputs(mask, requires_grad=grad)
    choice = choose(q, k, mask)
    assert choice.name == "segments"
    assert choice.reason.startswith("segments compute ")
    assert choice.reason.endswith("% of all scores")
    attend(q, k, v, mask)
    assert mask._dense is None


def test_auto_where_segments_would_not_pay():
    tokens = sequence(300).with_ids(valid=(torch.arange(300) > 3).long())
    mask = Mask.self_attention(padding(), tokens)
    q, k, _ = inputs(mask)
    assert choose(q, k, mask) == ("sdpa", "segments would still compute 99% of all scores")


def on_cuda(mask: Mask, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys on a device that need not be there."""
    with FakeTensorMode():
        return inputs(mask, **{"device": "cuda", "dtype": torch.bfloat16, **options})[:2]


@pytest.fixture
def triton_there(monkeypatch):
    monkeypatch.setattr(triton, "available", lambda: (True, "on CUDA"))


FLEX = ("flex", "a block-sparse mask on CUDA")


@pytest.mark.usefixtures("triton_there")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_auto_for_block_diffusion_training_on_cuda(dtype, grad):
    mask = training(200)
    expected = ("triton", "kernels of block-diffusion training in half precision on CUDA")
    assert choose(*on_cuda(mask, dtype=dtype, requires_grad=grad), mask) == expected
    packed = mask.keys.with_ids(document=mask.keys["block"] // 4, position=torch.arange(600))
    for rule in (
        block_diffusion() & document(),
        document() & block_diffusion(clean="token"),
        block_diffusion(context="noisy"),
    ):
        mask = Mask.self_attention(rule, packed)
        assert choose(*on_cuda(mask, dtype=dtype, requires_grad=grad), mask) == expected
    # Over a part of the sequence, or narrowed by another rule, it is another mask.
    for other in (
        Mask(mask.rule, packed.slice(0, 300), packed),
        Mask.self_attention(block_diffusion() & causal(), packed),
    ):
        assert choose(*on_cuda(other, dtype=dtype, requires_grad=grad), other) == FLEX


@pytest.mark.usefixtures("triton_there")
def test_auto_takes_flex_on_cuda_where_the_kernels_are_not_known_to_be_faster():
    mask = training(200)
    assert choose(*on_cuda(mask, dtype=torch.float32), mask) == FLEX
    with FakeTensorMode():
        wide = torch.zeros(1, 2, 600, 129, device="cuda", dtype=torch.bfloat16)
        assert choose(wide, wide, mask) == FLEX
    other = Mask.self_attention(causal(), sequence(300))
    assert choose(*on_cuda(other, requires_grad=True), other) == FLEX
    refusal = "FlexAttention compiles no kernel for float64 (use 'sdpa' or 'segments')"
    assert choose(*on_cuda(mask, dtype=torch.float64), mask) == ("sdpa", refusal)


def test_auto_takes_flex_on_cuda_where_triton_is_absent(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    mask = training(200)
    assert choose(*on_cuda(mask, requires_grad=True), mask) == FLEX


@pytest.mark.usefixtures("triton_there")
def test_auto_for_a_decoding_pass_on_cuda():
    keys = sequence(500)
    mask = Mask(causal(), keys.slice(468, 500), keys)
    assert choose(*on_cuda(mask), mask) == ("sdpa", "32 queries are too few to gain from skipping what is hidden")
    mask = training(80)
    assert choose(*on_cuda(mask, requires_grad=True), mask).name == "sdpa"


def test_auto_on_other_devices():
    mask = training(200)
    q, k, _ = inputs(mask, device="meta")
    assert choose(q, k, mask) == ("sdpa", "no other backend is known to work on meta")


@pytest.mark.parametrize("name", ["triton", "flash_attn", "xformers"])
def test_absent_backends_say_so_and_what_is_there(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    mask = training(10)
    with pytest.raises(
        BackendError,
        match=rf"'{name}' cannot be used here: .* is not installed .*; choose sdpa, segments, flex, flex_uncompiled or auto",
    ):
        attend(*inputs(mask), mask, backend=name)


def test_unknown_backends_are_refused():
    mask = training(10)
    with pytest.raises(BackendError, match="no attention backend 'spda'; choose sdpa, segments"):
        attend(*inputs(mask), mask, backend="spda")


@pytest.mark.parametrize("name", ["flex", "flex_uncompiled"])
def test_flex_refuses_gradients_on_a_cpu(name):
    mask = training(10)
    with pytest.raises(BackendError, match=rf"'{name}' was asked for .*no backward pass on a CPU"):
        attend(*inputs(mask, requires_grad=True), mask, backend=name)
    with torch.no_grad():
        hidden = [tensor * 1 for tensor in inputs(mask, requires_grad=True)]
        assert choose(*hidden[:2], mask, name).reason == "asked for"


def test_flex_refuses_float64():
    mask = training(10)
    with pytest.raises(BackendError, match="no kernel for float64"):
        attend(*inputs(mask, dtype=torch.float64), mask, backend="flex")


def test_every_backend_explains_its_availability():
    for name, backend in BACKENDS.items():
        present, reason = backend.available()
        assert present or name in ("triton", "flash_attn", "xformers")
        assert reason
