"""The backend `triton`: on a GPU, or under the interpreter as `test_triton.py` runs it."""

import pytest
import torch
from ar_core.attention import attend, choose, triton
from ar_core.errors import BackendError
from ar_core.masks import Mask, Tokens, block_diffusion, causal, document
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HEADS = (2, 1)
QUERIES = 40


pytestmark = pytest.mark.usefixtures("poisoned")


def close(found: Tensor, expected: Tensor, most: float, name: str) -> None:
    """Root mean square of the difference over that of what is expected, or the difference where that is 0."""
    error, size = (float(x.double().square().mean().sqrt()) for x in (found.detach() - expected, expected.detach()))
    assert error <= most * (size if size > 1e-12 else 1.0), f"{name}: {error:.1e} of {size:.1e}, allowed {most:.0e}"


def test_every_mask_equals_attention_written_out(mask, tensors, reference):
    """The interpreter is slow: two heads share one of keys, and of a long pass some queries in its middle are computed."""
    inputs = tensors(mask, dtype=torch.float32, heads=HEADS)
    if triton.refuses(*inputs[:2], mask):
        with pytest.raises(BackendError, match="queries are more than the 256"):
            attend(*inputs, mask, backend="triton")
    if not mask.rule.name.startswith("block_diffusion") and mask.shape[2] > QUERIES:
        first = mask.shape[2] // 3
        mask = Mask(mask.rule, mask.queries.slice(first, first + QUERIES), mask.keys)
        inputs = tensors(mask, dtype=torch.float32, heads=HEADS)
    inputs, mask = [x.to(DEVICE) for x in inputs], mask.to(DEVICE)
    expected = reference(*(x.double() for x in inputs), mask)
    close(attend(*inputs, mask, backend="triton"), expected, 1e-6, "output")


def test_every_gradient_equals_that_of_attention_written_out_or_is_refused(mask, tensors, reference):
    inputs = [x.detach().to(DEVICE).requires_grad_() for x in tensors(mask, dtype=torch.float32, heads=HEADS)]
    mask = mask.to(DEVICE)
    if triton.refuses(*inputs[:2], mask):
        with pytest.raises(BackendError, match="with gradients it computes block_diffusion"):
            attend(*inputs, mask, backend="triton")
        return
    twins = [x.detach().double().requires_grad_() for x in inputs]
    out, expected = attend(*inputs, mask, backend="triton"), reference(*twins, mask)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    wanted = torch.autograd.grad((expected * slope.double()).sum(), twins)
    for name, one, other in zip("qkv", torch.autograd.grad((out * slope).sum(), inputs), wanted, strict=True):
        close(one, other, 3e-6, f"gradient of {name}")


@pytest.mark.parametrize("heads", [(6, 2), (3, 3)], ids=["grouped", "as many"])
def test_numbers_of_heads(heads, every_mask, tensors, reference):
    for name in ("diffusion, packed", "blocks, padded, cached"):
        inputs = [x.to(DEVICE) for x in tensors(every_mask[name], dtype=torch.float32, heads=heads)]
        mask = every_mask[name].to(DEVICE)
        expected = reference(*(x.double() for x in inputs), mask)
        close(attend(*inputs, mask, backend="triton"), expected, 1e-6, name)


def test_without_a_mask(every_mask, tensors, reference):
    full = every_mask["full, cached"]
    inputs = [x.to(DEVICE) for x in tensors(full, dtype=torch.float32)]
    expected = reference(*(x.double() for x in inputs), full.to(DEVICE))
    close(attend(*inputs, None, backend="triton"), expected, 1e-6, "output")


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_ids_of_any_integers_compile_whole(dtype, tensors):
    index = torch.arange(40, dtype=dtype)
    parts = [Tokens(stream=torch.full_like(index, s), block=index // 8, document=index // 24) for s in (1, 0)]
    mask = Mask.self_attention(block_diffusion() & document(), Tokens.cat(parts)).to(DEVICE)
    inputs = [x.detach().to(DEVICE).requires_grad_() for x in tensors(mask, dtype=torch.float32, heads=HEADS)]

    def layer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, mask, backend="triton")

    outputs = torch.compile(layer, backend="aot_eager", fullgraph=True)(*inputs), layer(*inputs)
    assert torch.equal(*outputs)
    found, expected = (torch.autograd.grad(output.square().sum(), inputs) for output in outputs)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-6, "gradient")


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
