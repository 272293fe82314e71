"""`selected_cross_entropy` and its soft form: against float64, in chunks, in parts, compiled, and refused."""

import pytest
import torch
from ar_kernels import selected_cross_entropy, selected_soft_cross_entropy
from ar_kernels.selected_cross_entropy import gradients, reference
from comparing import SIZES
from cross_entropy_cases import SETTINGS, case, compare, compare_runs, compare_small_gradients, compile_whole
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=lambda dtype: str(dtype)[6:])
def test_loss_and_gradients_equal_the_reference(size, dtype):
    compare(size, dtype, SETTINGS[sum(size) % len(SETTINGS)], "torch", "cpu")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings(settings):
    compare((37, 211, 19), torch.float64, settings, "auto", "cpu")


def test_reference_is_torchs_cross_entropy():
    given = case(9, 31, 8, torch.float64)
    logits = given.hidden[given.rows] @ given.weight.T
    expected = (torch.nn.functional.cross_entropy(logits, given.labels, reduction="none") * given.weights).sum()
    assert torch.allclose(reference.hard(given.hidden, given.weight, given.rows, given.labels, given.weights), expected)
    taught = (given.hidden[given.teachers] @ given.weight.T).softmax(-1)
    expected = (torch.nn.functional.cross_entropy(logits, taught, reduction="none") * given.weights).sum()
    divergence = (
        torch.nn.functional.kl_div(logits.log_softmax(-1), taught, reduction="none").sum(-1) @ given.weights.double()
    )
    found = reference.soft(given.hidden, given.weight, given.rows, given.teachers, given.weights)
    assert torch.allclose(found[0], expected)
    assert torch.allclose(found[1], divergence)


@pytest.mark.parametrize("most", [1, 63, 64, 200, 10**6])
def test_the_chunk_size_changes_nothing(most):
    given = case(23, 63, 11, torch.float64)
    whole = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels)
    parts = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels, max_logits=most)
    assert torch.allclose(whole, parts, rtol=1e-14)
    of = (given.hidden, given.weight)
    for one, other in zip(torch.autograd.grad(whole, of), torch.autograd.grad(parts, of), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_runs_are_equal_bit_by_bit():
    compare_runs("torch", "cpu")


def test_a_loss_may_be_differentiated_more_than_once():
    given = case(40, 130, 16, torch.float32)
    of = (given.hidden, given.weight)
    loss = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels)
    first = torch.autograd.grad(loss, of, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(loss, of), strict=True))


@pytest.mark.parametrize("wanted", [(False, True), (True, False), (False, False)])
def test_only_wanted_gradients_are_made(wanted, monkeypatch):
    from ar_kernels.selected_cross_entropy import hard

    given = case(6, 20, 5, torch.float32)
    expected = torch.autograd.grad(
        reference.hard(given.hidden, given.weight, given.rows, given.labels), (given.hidden, given.weight)
    )
    asked = []
    monkeypatch.setattr(
        hard,
        "run",
        lambda *a, run=hard.run, **how: asked.append((how["of_hidden"], how["of_weight"])) or run(*a, **how),
    )
    hidden, weight = given.hidden.detach().requires_grad_(wanted[0]), given.weight.detach().requires_grad_(wanted[1])
    loss = selected_cross_entropy(hidden, weight, given.rows, given.labels)
    assert asked == [wanted]
    assert loss.requires_grad == any(wanted)
    if any(wanted):
        loss.backward()
        for one, other, is_wanted in zip((hidden, weight), expected, wanted, strict=True):
            assert (one.grad is not None) == is_wanted
            assert not is_wanted or torch.allclose(one.grad, other, atol=1e-6)
    with torch.no_grad():
        selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels)
    assert asked[1] == (False, False)


def test_no_rows_are_a_loss_of_zero_in_the_graph():
    given = case(0, 9, 4, torch.float32)
    for loss in (
        selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels),
        selected_soft_cross_entropy(given.hidden, given.weight, given.rows, given.teachers)[0],
    ):
        assert float(loss) == 0
        gradients = torch.autograd.grad(loss, (given.hidden, given.weight))
        assert all(not gradient.any() for gradient in gradients)


def test_the_gradient_of_the_loss_is_not_rounded_in_bfloat16():
    """1/3 is off by 0.1 % in bfloat16, the same way for every element."""
    given = case(64, 40, 16, torch.bfloat16)
    of = (given.hidden, given.weight)
    loss = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels)
    whole = torch.autograd.grad(loss, of, retain_graph=True)
    third = torch.autograd.grad(loss, of, grad_outputs=torch.tensor(1 / 3))
    for one, other in zip(whole, third, strict=True):
        factor = (other.double() * one.double()).sum() / one.double().square().sum()
        assert float(factor) == pytest.approx(1 / 3, rel=5e-4)


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_small_gradients_in_float16(size):
    compare_small_gradients(size, "torch", "cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=lambda dtype: str(dtype)[6:])
def test_the_gradient_of_the_head_is_scaled_in_slices(dtype, monkeypatch):
    given = case(9, 31, 6, dtype)
    loss = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels)
    whole = torch.autograd.grad(loss * 0.3, given.weight, retain_graph=True)[0]
    sizes = []

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten.mul.out:
                sizes.append(kwargs["out"].numel())
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(gradients, "SLICE", 50)
    with Products():
        parts = torch.autograd.grad(loss * 0.3, given.weight)[0]
    assert torch.equal(parts, whole)
    assert max(sizes) <= 50
    assert sum(sizes) == whole.numel()


def test_torch_library_checks_and_compilation():
    compile_whole("torch", "cpu")


def test_what_cannot_be_computed_is_named():
    given = case(4, 9, 5, torch.float32)
    good = {"hidden": given.hidden, "weight": given.weight, "rows": given.rows, "labels": given.labels}
    for changed, message in (
        ({"hidden": given.hidden[None]}, r"give \[T, C\] and \[V, C\]"),
        ({"weight": given.weight[:, :4]}, r"hidden states are \(7, 5\) and the head's weight \(9, 4\)"),
        ({"weight": given.weight.double()}, "give one float dtype"),
        ({"rows": given.rows.int()}, r"rows are torch.int32 \(4,\): give int64"),
        ({"rows": given.rows + 4}, "must lie between 0 and 6"),
        ({"labels": given.labels[:3]}, r"must be int64 \(4,\), one for each row"),
        ({"labels": torch.full((4,), -100)}, "labels lie between -100 and -100 and must lie between 0 and 8"),
        ({"weights": torch.ones(3)}, "give one weight for each row"),
        ({"scale": 0.0}, "scale is 0"),
        ({"cap": -1.0}, "cap is -1.0"),
        ({"max_logits": 0}, "max_logits is 0"),
        ({"implementation": "fast"}, "give auto, torch or triton"),
        (
            {"hidden": given.hidden.double(), "weight": given.weight.double(), "implementation": "triton"},
            "use implementation='torch'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            selected_cross_entropy(**{**good, **changed})
    good = {"hidden": given.hidden, "weight": given.weight, "rows": given.rows, "teachers": given.teachers}
    for changed, message in (
        (
            {"teachers": given.teachers[:3]},
            r"teachers are torch.int64 \(3,\) and must be int64 \(4,\), one for each row",
        ),
        ({"teachers": given.teachers[:, None]}, r"teachers are torch.int64 \(4, 1\)"),
        ({"teachers": given.teachers.int()}, "teachers are torch.int32"),
        ({"teachers": given.teachers + 7}, "teachers lie between"),
        ({"cap": float("nan")}, "cap is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            selected_soft_cross_entropy(**{**good, **changed})
