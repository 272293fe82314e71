"""What backends have in common beside the masks of `test_all_masks.py`: blind rows, scale, memory, refusals."""

import pytest
import torch
from ar_core.attention import attend, fused
from ar_core.attention.segments import ROWS
from ar_core.errors import MaskError
from ar_core.masks import Mask, Tokens, bidirectional, causal
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def test_rows_that_see_nothing_give_zero_and_no_gradient(tensors):
    tokens = Tokens(position=torch.arange(200))
    mask = Mask.self_attention(~bidirectional(), tokens)
    for backend in ("sdpa", "segments"):
        inputs = tensors(mask, grad=True)
        out = attend(*inputs, mask, backend=backend)
        assert not out.any()
        if out.requires_grad:
            for gradient in torch.autograd.grad(out.sum(), inputs, allow_unused=True):
                assert gradient is None or not gradient.any()


def test_full_masks_take_the_path_without_a_mask(tensors):
    full = Mask.self_attention(bidirectional(), Tokens(position=torch.arange(150)))
    q, k, v = tensors(full)
    for backend in ("sdpa", "segments", "flex_uncompiled", "auto"):
        torch.testing.assert_close(attend(q, k, v, full, backend=backend), attend(q, k, v, None), rtol=0, atol=1e-12)
    assert full._dense is None
    assert not full._segments


def test_scale_is_used(training_mask, tensors):
    q, k, v = tensors(training_mask)
    default = attend(q, k, v, training_mask, backend="sdpa")
    for backend in ("sdpa", "segments"):
        out = attend(q * 8**-0.5, k, v, training_mask, scale=1.0, backend=backend)
        torch.testing.assert_close(out, default, rtol=0, atol=1e-12)


class Largest(TorchDispatchMode):
    """Number of elements of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_segments_hold_no_tensor_of_queries_by_keys(tensors):
    length = 2048
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(length)))
    largest = {}
    for backend in ("segments", "sdpa"):
        inputs = tensors(mask, dtype=torch.float32, grad=True)
        with Largest() as seen:
            torch.autograd.grad(attend(*inputs, mask, backend=backend).sum(), inputs)
        largest[backend] = seen.elements
    assert largest["segments"] <= max(ROWS * length, inputs[0].numel())
    assert largest["sdpa"] >= length * length


def test_a_mask_of_another_shape_is_refused(training_mask, tensors):
    q, k, v = tensors(training_mask)
    with pytest.raises(MaskError, match=r"shape \(1, 1, 300, 300\) was given for 299 queries and 300 keys"):
        attend(q[:, :, 1:], k, v, training_mask)
    per_row = Mask.self_attention(
        training_mask.rule, training_mask.keys.with_ids(block=training_mask.keys["block"].repeat(3, 1))
    )
    with pytest.raises(MaskError, match=r"in a batch of 2; it must have shape \(2 or 1, 1, 300, 300\)"):
        attend(q, k, v, per_row)


def test_a_mask_on_another_device_is_refused(training_mask, tensors):
    with pytest.raises(MaskError, match="mask is on meta, the queries on cpu"):
        attend(*tensors(training_mask), training_mask.to("meta"))


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
def test_small_products_that_train_in_16_bits_on_a_cpu_are_rounded_once(backend):
    generator = torch.Generator().manual_seed(3)
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(48)))
    q, k, v = (torch.randn(2, 4, 48, 16, generator=generator) for _ in range(3))
    expected = attend(q, k, v, mask, backend=backend).bfloat16()
    # Under autocast the inputs themselves are not rounded before.
    q.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        trained = attend(q, k, v, mask, backend=backend)
        with torch.no_grad():
            drawn = attend(q, k, v, mask, backend=backend)
    torch.testing.assert_close(trained, expected, rtol=0, atol=0)
    assert drawn.dtype == torch.bfloat16
    assert not torch.equal(drawn, expected)

    half = [x.detach().bfloat16() for x in (q, k, v)]
    expected = attend(*(x.float() for x in half), mask, backend=backend).bfloat16()
    half[2].requires_grad_()
    trained = attend(*half, mask, backend=backend)
    torch.testing.assert_close(trained, expected, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(trained.sum(), half[2])
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
def test_small_products_in_16_bits_keep_mask_scale_groups_and_gradients(backend, tensors):
    keys = Tokens(position=torch.arange(160))
    # The first chunk of queries is before all keys.
    mask = Mask(causal(), Tokens(position=torch.arange(300) - 150), keys)
    half = tensors(mask, dtype=torch.bfloat16, grad=True)
    whole = [x.detach().double().requires_grad_() for x in half]
    out, expected = (attend(*inputs, mask, scale=0.5, backend=backend) for inputs in (half, whole))
    assert out.dtype == torch.bfloat16
    assert not out[:, :, :150].any()
    torch.testing.assert_close(out.double(), expected, rtol=2**-8, atol=1e-6)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = torch.autograd.grad(out, half, weights)
    for gradient, exact in zip(found, torch.autograd.grad(expected, whole, weights.double())):
        torch.testing.assert_close(gradient.double(), exact, rtol=2**-7, atol=2e-2)


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
@pytest.mark.parametrize("grad", [False, True])
def test_under_autocast_the_dtype_does_not_depend_on_what_the_mask_hides(backend, grad, tensors):
    mask = Mask(causal(), Tokens(position=torch.arange(300) - 150), Tokens(position=torch.arange(160)))
    with torch.autocast("cpu", torch.bfloat16):
        assert attend(*tensors(mask, torch.float32, grad), mask, backend=backend).dtype == torch.bfloat16
        # Autocast leaves float64 alone.
        inputs = tensors(mask, torch.float64, grad)
        assert attend(*inputs, mask, backend=backend).dtype == torch.float64


def test_large_products_in_16_bits_are_left_to_the_kernel(monkeypatch):
    seen = []
    kernel = fused.scaled_dot_product_attention
    monkeypatch.setattr(
        fused, "scaled_dot_product_attention", lambda q, *a, **o: seen.append(q.dtype) or kernel(q, *a, **o)
    )
    for queries in (128, 129):
        q, k, v = (torch.zeros(1, 1, n, 64, dtype=torch.bfloat16, requires_grad=True) for n in (queries, 256, 256))
        fused.fused_attention(q, k, v, None, None)
    assert seen == [torch.float32, torch.bfloat16]
