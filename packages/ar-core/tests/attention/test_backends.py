"""Every backend computes the same attention."""

import pytest
import torch
from ar_core.attention import attend
from ar_core.attention.segments import ROWS
from ar_core.errors import MaskError
from ar_core.masks import Mask, Tokens, bidirectional, causal
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
def test_output_and_gradients_equal_attention_written_out(mask, tensors, reference, backend):
    inputs, twins = tensors(mask, grad=True), tensors(mask, grad=True)
    expected = reference(*twins, mask)
    out = attend(*inputs, mask, backend=backend)
    assert out.shape == expected.shape
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)

    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
    for ours, theirs in zip(
        torch.autograd.grad((out * weight).sum(), inputs), torch.autograd.grad((expected * weight).sum(), twins)
    ):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 4e-3), (torch.float16, 1e-3), (torch.float32, 1e-6)])
def test_low_precision_stays_within_its_rounding(mask, tensors, reference, backend, dtype, bound):
    exact = reference(*(t.to(dtype).double() for t in tensors(mask)), mask)
    out = attend(*tensors(mask, dtype=dtype), mask, backend=backend)
    assert out.dtype == dtype
    ratio = (out.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert ratio < bound, f"root mean square error is {ratio:.1e} of the output's"


def test_flex_uncompiled_equals_sdpa(mask, tensors):
    inputs = tensors(mask, dtype=torch.float32)
    out = attend(*inputs, mask, backend="flex_uncompiled")
    torch.testing.assert_close(out, attend(*inputs, mask, backend="sdpa"), rtol=0, atol=2e-6)


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


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["sdpa", "segments", "flex_uncompiled"])
def test_uninitialised_memory_is_never_read(mask, tensors, reference, backend):
    assert torch.empty(3).isnan().all()
    grad = backend != "flex_uncompiled"
    inputs = tensors(mask, dtype=torch.float32, grad=grad)
    out = attend(*inputs, mask, backend=backend)
    torch.testing.assert_close(out, reference(*inputs, mask), rtol=0, atol=2e-6)
    if grad:
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(out.sum(), inputs))


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
