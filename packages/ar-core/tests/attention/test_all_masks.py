"""Every mask on every backend that accepts it: equal to softmax over `Mask.dense()` in float64; and who accepts what.

The kernels of the backend `triton` meet the same masks in `triton_backend.py`, in memory that is poisoned like here.
"""

import inspect
import itertools

import ar_core.masks as masks
import pytest
import torch
from ar_core.attention import BACKENDS, attend
from ar_core.masks import Mask, Rule
from torch._subclasses.fake_tensor import FakeTensorMode

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.usefixtures("poisoned"),
]
HEADS = {"grouped": (6, 2), "one key head": (4, 1), "as many": (3, 3)}


def error_ratio(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the difference over that of what is expected, or the difference where that is 0 but for rounding."""
    error, size = ((x.double().square().mean().sqrt().item()) for x in (found - expected, expected))
    return error / size if size > 1e-12 else error


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
def test_output_and_gradients_equal_attention_written_out(mask, tensors, reference, backend):
    inputs, twins = tensors(mask, grad=True), tensors(mask, grad=True)
    expected = reference(*twins, mask)
    out = attend(*inputs, mask, backend=backend)
    assert out.shape == expected.shape
    assert error_ratio(out, expected) <= 1e-14
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
    # Where all queries are blind, nothing depends on anything.
    found, wanted = (
        torch.autograd.grad((x * slope).sum(), leaves, allow_unused=True) if x.requires_grad else (None,) * 3
        for x, leaves in ((out, inputs), (expected, twins))
    )
    for name, ours, theirs in zip("qkv", found, wanted, strict=True):
        if ours is None:
            assert not theirs.any(), name
        else:
            assert error_ratio(ours, theirs) <= 1e-13, name


@pytest.mark.parametrize("backend", ["sdpa", "segments"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 4e-3), (torch.float16, 1e-3), (torch.float32, 1e-6)])
def test_low_precision_stays_within_its_rounding(mask, tensors, reference, backend, dtype, most):
    inputs = tensors(mask, dtype=dtype)
    out = attend(*inputs, mask, backend=backend)
    assert out.dtype == dtype
    assert error_ratio(out, reference(*(x.double() for x in inputs), mask)) <= most


def test_flex_uncompiled_equals_attention_written_out(mask, tensors, reference):
    inputs = tensors(mask, dtype=torch.float32)
    exact = reference(*(x.double() for x in inputs), mask)
    assert error_ratio(attend(*inputs, mask, backend="flex_uncompiled"), exact) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diffusion, 3L, odd", "causal, padded, cached", "jacobi, packed"])
def test_compiled_flex_equals_attention_written_out(name, every_mask, tensors, reference):
    torch._dynamo.reset()
    mask = every_mask[name]
    inputs = tensors(mask, dtype=torch.float32)
    exact = reference(*(x.double() for x in inputs), mask)
    assert error_ratio(attend(*inputs, mask, backend="flex"), exact) <= 1e-6


@pytest.mark.parametrize("heads", HEADS.values(), ids=list(HEADS))
@pytest.mark.parametrize("name", ["diffusion, packed", "blocks, padded, cached"])
def test_numbers_of_heads(name, heads, every_mask, tensors, reference):
    mask = every_mask[name]
    inputs = tensors(mask, heads=heads)
    exact = reference(*inputs, mask)
    for backend in ("sdpa", "segments", "flex_uncompiled", "auto"):
        assert error_ratio(attend(*inputs, mask, backend=backend), exact) <= 1e-14, backend


def leaves(rule: Rule) -> list[Rule]:
    """The rules that a rule combines, the combinations among them."""
    return [rule, *itertools.chain(*(leaves(one) for one in rule.arguments if isinstance(one, Rule)))]


def test_every_rule_is_here_with_its_options_over_itself_and_over_a_cache(every_mask):
    factories = {
        name
        for name in masks.__all__
        if inspect.isfunction(getattr(masks, name))
        and inspect.signature(getattr(masks, name)).return_annotation is Rule
    }
    seen: dict[str, list[tuple[Mask, tuple]]] = {}
    for mask in every_mask.values():
        for rule in leaves(mask.rule):
            seen.setdefault(rule.name, []).append((mask, rule.arguments))
    assert seen.keys() == factories | {"&", "|", "~"}
    for name in factories:
        over_itself = {mask.queries is mask.keys for mask, _ in seen[name]}
        # A tree always stands behind something: over itself it is one whose cache is empty.
        assert over_itself == ({False} if name == "tree" else {True, False}), name
        assert any(mask.batch is not None for mask, _ in seen[name]), name
    assert {arguments for _, arguments in seen["block_diffusion"]} == set(
        itertools.product(("block", "token"), ("clean", "noisy"))
    )
    assert {arguments for _, arguments in seen["noise_aware_causal"]} == {(None,), (1,), (2,)}


LIBRARIES = "triton flash_attn xformers"
ACCEPTED = {
    "full": LIBRARIES,
    "full, cached": LIBRARIES,
    "full, padded": "triton",
    "full, padded, cached": "triton",
    "nothing": "triton",
    "padding": "triton",
    "padding, cached": "triton",
    "causal, 1": LIBRARIES,
    "causal, 300": "flash_attn xformers",
    "causal, reversed": "triton",
    "causal, cached": LIBRARIES,
    "causal, cached, one query": LIBRARIES,
    "causal, cached, in the middle": "triton",
    "causal, cached, row by row": "triton",
    "causal, left-padded": "triton",
    "causal, padded, cached": "triton",
    "anticausal": "triton",
    "anticausal, cached": "triton",
    "sliding": LIBRARIES,
    "sliding, past alone": "triton",
    "sliding, cached": LIBRARIES,
    "sliding, padded, cached": "triton",
    "sliding, packed": "triton flash_attn",
    "documents": LIBRARIES,
    "documents, full": LIBRARIES,
    "documents, cached": "triton",
    "packed": "flash_attn xformers",
    "packed, positions going on": LIBRARIES,
    "prefix": "triton",
    "prefix model": "triton",
    "prefix model, cached": "triton",
    "prefix of documents": "triton",
    "blocks": "triton",
    "blocks, cached": "triton",
    "blocks, cached, row by row": "triton",
    "blocks, padded, cached": "triton",
    "diffusion, 2L": "triton+gradients",
    "diffusion, 2L, odd": "triton+gradients",
    "diffusion, 3L": "triton+gradients",
    "diffusion, 3L, odd": "triton+gradients",
    "diffusion, token": "triton+gradients",
    "diffusion, noisy": "triton+gradients",
    "diffusion, token, noisy": "triton+gradients",
    "diffusion, packed": "triton+gradients",
    "diffusion, packed alike": "triton+gradients",
    "diffusion, padded": "triton",
    "diffusion, cached": "triton",
    "jacobi": "triton",
    "jacobi, clean context": "triton",
    "jacobi, noisy in window": "triton",
    "jacobi, packed": "",
    "jacobi, cached": "triton",
    "scales": "triton",
    "scales, cached": "triton",
    "scales, padded, cached": "triton",
    "scales, strict": "triton",
    "scales, strict, cached": "triton",
    "scales, strict, padded": "triton",
    "tree": "triton",
    "tree, cached": "triton",
    "tree, cached, row by row": "triton",
}
"""Who takes a mask on CUDA in bfloat16, beside `ALWAYS`; the libraries with gradients too, `triton` where it says so."""
ALWAYS = {"sdpa", "segments", "flex", "flex_uncompiled"}


def test_exactly_these_are_refused(every_mask):
    found = {}
    for name, mask in every_mask.items():
        by_gradient = []
        for grad in (False, True):
            # Tensors on a device that need not be there: a backend decides before it computes.
            with FakeTensorMode():
                q, k = (
                    torch.empty(2, 4, length, 8, device="cuda", dtype=torch.bfloat16, requires_grad=grad)
                    for length in mask.shape[2:]
                )
            by_gradient.append({backend for backend in BACKENDS if BACKENDS[backend].refuses(q, k, mask) is None})
        without, with_gradients = by_gradient
        assert without >= with_gradients >= ALWAYS
        optional = [
            f"{one}+gradients" if one == "triton" and one in with_gradients else one for one in sorted(without - ALWAYS)
        ]
        assert without - with_gradients <= {"triton"}
        found[name] = " ".join(optional)
    assert found == {name: " ".join(sorted(names.split())) for name, names in ACCEPTED.items()}
