"""`sequence_logprob`: against float64 and torch's cross-entropy, in chunks, in parts, compiled, and refused."""

import pytest
import torch
import torch.nn.functional as F
from ar_kernels import selected_cross_entropy, sequence_logprob
from ar_kernels.selected_cross_entropy import chunks
from ar_kernels.sequence_logprob.reference import reference
from comparing import repeatable
from sequence_cases import SHAPES, case, compare, gradients

MOST = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2}
SETTINGS = [{}, {"scale": 0.5}, {"cap": 3.0}, {"scale": 1.7, "cap": 5.0}]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", MOST, ids=lambda dtype: str(dtype)[6:])
def test_values_and_gradients_equal_the_reference(shape, dtype):
    compare(shape, dtype, SETTINGS[sum(shape) % len(SETTINGS)], "torch", "cpu", MOST[dtype])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings(settings):
    compare((3, 11, 211, 19), torch.float64, settings, "auto", "cpu", 1e-12)


def test_it_is_minus_the_cross_entropy_of_every_sequence():
    hidden, weight, labels, _ = case((4, 9, 31, 8), torch.float32)
    found = sequence_logprob(hidden, weight, labels)
    logits = (hidden @ weight.T).transpose(1, 2)
    expected = -F.cross_entropy(logits, labels, reduction="none").sum(1)
    assert torch.allclose(found, expected, rtol=1e-5)
    assert torch.allclose(reference(hidden, weight, labels), expected, rtol=1e-5)
    rows = torch.arange(36)
    whole = selected_cross_entropy(hidden.flatten(0, 1), weight, rows, labels.flatten())
    assert torch.allclose(found.sum(), -whole, rtol=1e-5)


@pytest.mark.parametrize("most", [1, 63, 64, 200, 10**6])
def test_the_chunk_size_changes_nothing(most):
    hidden, weight, labels, valid = case((5, 7, 63, 11), torch.float64)
    whole = sequence_logprob(hidden, weight, labels, valid)
    parts = sequence_logprob(hidden, weight, labels, valid, max_logits=most)
    assert torch.allclose(whole, parts, rtol=1e-13)
    for one, other in zip(gradients(whole, (hidden, weight)), gradients(parts, (hidden, weight)), strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("wanted", [False, True], ids=["forward", "backward"])
def test_no_tensor_of_all_logits_is_ever_there(wanted):
    """By what single operations allocate inside of the op, which dispatch modes do not see."""
    hidden, weight, labels, valid = case((6, 20, 500, 8), torch.float32)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        found = sequence_logprob(hidden, weight, labels, valid, max_logits=4 * 500)
        if wanted:
            gradients(found, (hidden, weight))
    largest = max(event.self_cpu_memory_usage for event in seen.events())
    # A chunk has 2,000 logits of 4 bytes, the head itself 4,000 numbers; all logits would be 60,000.
    assert largest == 4 * (weight.numel() if wanted else 2000)


def test_runs_are_equal_bit_by_bit():
    hidden, weight, labels, valid = case((3, 40, 130, 16), torch.float32)

    def run():
        found = sequence_logprob(hidden, weight, labels, valid, max_logits=1000)
        return (found, *gradients(found, (hidden, weight)))

    repeatable(run)


def test_long_sequences_are_summed_in_float64():
    """At thousands of nats float32 has steps of 1e-4 and more, and a sum in it is another one; row by row, terms are the same in both."""
    hidden, weight, labels, _ = case((6, 300, 97, 16), torch.float32)
    found = sequence_logprob(2 * hidden, 2 * weight, labels, max_logits=1)
    single = sequence_logprob(2 * hidden.flatten(0, 1)[:, None], 2 * weight, labels.flatten()[:, None], max_logits=1)
    terms = single.view(labels.shape)
    assert found.max() < -1000
    assert torch.equal(found, terms.double().sum(1).float())
    assert not torch.equal(found, terms.sum(1))


@pytest.mark.parametrize("wanted", [(False, True), (True, False), (False, False)])
def test_only_wanted_gradients_are_made(wanted, monkeypatch):
    hidden, weight, labels, _ = case((2, 3, 20, 5), torch.float32)
    expected = gradients(reference(hidden, weight, labels), (hidden, weight))
    asked = []
    from ar_kernels.sequence_logprob import sequences

    monkeypatch.setattr(
        sequences,
        "run",
        lambda *a, run=chunks.run, **how: asked.append((how["of_hidden"], how["of_weight"])) or run(*a, **how),
    )
    hidden, weight = hidden.detach().requires_grad_(wanted[0]), weight.detach().requires_grad_(wanted[1])
    found = sequence_logprob(hidden, weight, labels)
    assert asked == [(False, False)]
    assert found.requires_grad == any(wanted)
    if any(wanted):
        of = tuple(one for one, is_wanted in zip((hidden, weight), wanted, strict=True) if is_wanted)
        own = gradients(found, of)
        assert asked[1] == wanted
        for one, other in zip(own, (e for e, w in zip(expected, wanted, strict=True) if w), strict=True):
            assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_small_gradients_in_float16(size):
    """Slopes of single logits are far below what float16 holds; what adds up of them is not lost."""
    hidden, weight, labels, _ = case((4, 10, 400, 16), torch.float16)
    wide = (hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    found = torch.autograd.grad(
        (sequence_logprob(hidden, weight, labels, max_logits=3000) * size).sum(), (hidden, weight)
    )
    expected = torch.autograd.grad((reference(*wide, labels) * size).sum(), wide)
    for one, other in zip(found, expected, strict=True):
        # 2^-25: half of float16's smallest step.
        assert (one.double() - other).abs().max() <= 3e-3 * other.abs().max() + 2**-25


def test_torch_library_checks_and_compilation():
    hidden, weight, labels, valid = case((3, 5, 12, 4), torch.float32)
    for chosen in (None, valid):
        arguments = (hidden, weight, labels, chosen, 1.0, None, 30, False)
        torch.library.opcheck(torch.ops.ar_kernels.sequence_logprob.default, arguments)
        backward = (torch.ones(3), hidden.detach(), weight.detach(), *arguments[2:], True, False)
        torch.library.opcheck(torch.ops.ar_kernels.sequence_logprob_backward.default, backward)

    def loss(hidden, weight):
        return sequence_logprob(hidden, weight, labels, valid, max_logits=30).tanh().sum()

    expected, found = loss(hidden, weight), torch.compile(loss, fullgraph=True, backend="aot_eager")(hidden, weight)
    assert torch.allclose(expected, found)
    for one, other in zip(*(torch.autograd.grad(x, (hidden, weight)) for x in (expected, found)), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_what_cannot_be_computed_is_named():
    hidden, weight, labels, valid = case((2, 4, 9, 5), torch.float32)
    good = {"hidden": hidden, "weight": weight, "labels": labels, "valid": valid}
    for changed, message in (
        ({"hidden": hidden[0]}, r"give \[B, L, C\]"),
        ({"weight": weight[:, :4]}, r"give \[T, C\] and \[V, C\]"),
        ({"weight": weight.double()}, "give one float dtype"),
        ({"labels": labels[:, :3]}, r"must be int64 \(2, 4\), one for each position"),
        ({"labels": labels.int()}, "labels are torch.int32"),
        ({"labels": labels + 9, "valid": None}, "must lie between 0 and 8"),
        ({"valid": valid[:1]}, r"must be bool \(2, 4\)"),
        ({"valid": valid.int()}, "valid is torch.int32"),
        ({"scale": 0.0}, "scale is 0"),
        ({"cap": -1.0}, "cap is -1.0"),
        ({"max_logits": 0}, "max_logits is 0"),
        ({"implementation": "fast"}, "give auto, torch or triton"),
    ):
        with pytest.raises(ValueError, match=message):
            sequence_logprob(**{**good, **changed})
