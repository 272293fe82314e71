"""Inputs and float64 results of `selected_cross_entropy` and its soft form, for the implementations' tests."""

from dataclasses import dataclass

import torch
from ar_kernels import selected_cross_entropy, selected_soft_cross_entropy
from ar_kernels.selected_cross_entropy import reference
from comparing import close, error_ratio, poisoned, repeatable
from torch import Tensor

SETTINGS = [{}, {"scale": 0.5}, {"cap": 3.0}, {"scale": 1.7, "cap": 5.0}]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2}
"""Error ratios. A head's product in bfloat16 rounds logits and their gradients to 8 bits: 2^-9 each, over a few of them."""


@dataclass
class Case:
    """Random inputs."""

    hidden: Tensor
    weight: Tensor
    rows: Tensor
    labels: Tensor
    teachers: Tensor
    weights: Tensor


def case(rows: int, vocabulary: int, width: int, dtype: torch.dtype, device: str = "cpu") -> Case:
    """Rows are drawn with repeats from more hidden states than are selected."""
    generator = torch.Generator().manual_seed(rows * 10_007 + vocabulary)
    states = rows + 3
    return Case(
        torch.randn(states, width, generator=generator).to(device, dtype).requires_grad_(),
        (2 * torch.randn(vocabulary, width, generator=generator) / width**0.5).to(device, dtype).requires_grad_(),
        torch.randint(states, (rows,), generator=generator).to(device),
        torch.randint(vocabulary, (rows,), generator=generator).to(device),
        torch.randint(states, (rows,), generator=generator).to(device),
        torch.rand(rows, generator=generator).to(device),
    )


def compare(size: tuple[int, int, int], dtype: torch.dtype, settings: dict, implementation: str, device: str) -> None:
    """Loss and both gradients of both forms against the float64 reference, in chunks of a few rows, memory poisoned."""
    given = case(*size, dtype, device)
    wide = [one.detach().double().requires_grad_() for one in (given.hidden, given.weight)]
    options = {**settings, "max_logits": 3 * size[1], "implementation": implementation}
    most = TOLERANCES[dtype]
    for name, function, expected, targets in (
        ("hard", selected_cross_entropy, reference.hard, given.labels),
        ("soft", selected_soft_cross_entropy, reference.soft, given.teachers),
    ):
        with poisoned():
            found = function(given.hidden, given.weight, given.rows, targets, given.weights, **options)
            loss = found[0] if name == "soft" else found
            # A loss is a part of a sum, its gradient no power of two.
            gradients = torch.autograd.grad(loss * 0.3, (given.hidden, given.weight))
        wanted = expected(*wide, given.rows, targets, given.weights, **settings)
        wanted_loss = wanted[0] if name == "soft" else wanted
        wanted_gradients = torch.autograd.grad(wanted_loss * 0.3, wide)
        close(loss, wanted_loss, most, f"{name} loss")
        # One id alone is certain: every gradient is 0, and every error infinitely large against it.
        if size[1] > 1:
            for what, one, other in zip(("hidden", "weight"), gradients, wanted_gradients, strict=True):
                if other.abs().max() > 1e-12:
                    close(one, other, 3 * most, f"{name} gradient of {what}")
        if name == "soft":
            # The difference of two sums that are nearly equal at times.
            assert float((found[1] - wanted[1]).detach().abs()) <= most * max(1.0, float(wanted[0].detach().abs()))


def both_forms(given: Case, implementation: str, **options) -> tuple[Tensor, ...]:
    """Losses of both forms, the divergence, and the gradients of the losses' sum."""
    options = {**options, "implementation": implementation}
    hard = selected_cross_entropy(given.hidden, given.weight, given.rows, given.labels, given.weights, **options)
    soft = selected_soft_cross_entropy(given.hidden, given.weight, given.rows, given.teachers, given.weights, **options)
    return (hard, *soft, *torch.autograd.grad(hard + 0.3 * soft[0], (given.hidden, given.weight)))


def compare_small_gradients(size: float, implementation: str, device: str) -> None:
    """In float16, with weights of a small size and a scaler's factor that undoes it, against plain torch in float16; both beside float64."""
    given = case(40, 400, 16, torch.float16, device)
    weights, factor = given.weights * size, 65.0 / size
    leaves = (given.hidden, given.weight)
    wide = [one.detach().double().requires_grad_() for one in leaves]
    for function, op, targets in (
        (reference.hard, selected_cross_entropy, given.labels),
        (reference.soft, selected_soft_cross_entropy, given.teachers),
    ):
        losses = [
            run(*of, given.rows, targets, weights, **options)
            for run, of, options in (
                (op, leaves, {"implementation": implementation, "max_logits": 3000}),
                (function, leaves, {}),
                (function, wide, {}),
            )
        ]
        losses = [one[0] if isinstance(one, tuple) else one for one in losses]
        found, plain, expected = (
            torch.autograd.grad(loss * factor, of) for loss, of in zip(losses, (leaves, leaves, wide), strict=True)
        )
        close(losses[0], losses[2], 2e-3, "loss in float16")
        for one, other, wanted in zip(found, plain, expected, strict=True):
            assert one.dtype == torch.float16
            close(one, wanted, 1.5 * error_ratio(other, wanted), "gradient in float16")


def compare_runs(implementation: str, device: str) -> None:
    """Two runs of both forms and their gradients, in several chunks and tiles, of rows that are selected more than once."""
    for rows, vocabulary, width in ((7, 300, 8), (40, 130, 16), (3, 4099, 5)):
        given = case(rows, vocabulary, width, torch.float32, device)
        repeatable(lambda given=given, most=2 * vocabulary: both_forms(given, implementation, max_logits=most, cap=9.0))


def compile_whole(implementation: str, device: str) -> None:
    """Both forms inside `torch.compile` in one graph, with gradients; and what `torch.library` asks of an op."""
    given = case(5, 12, 4, torch.float32, device)
    shared = (1.0, None, 30, implementation == "triton", True, True)
    for op, targets in (("selected_cross_entropy", given.labels), ("selected_soft_cross_entropy", given.teachers)):
        arguments = (given.hidden, given.weight, given.rows, targets, given.weights, *shared)
        torch.library.opcheck(getattr(torch.ops.ar_kernels, op).default, arguments)
    given = case(21, 50, 8, torch.float32, device)

    def both(hidden: Tensor, weight: Tensor) -> Tensor:
        options = {"implementation": implementation}
        hard = selected_cross_entropy(
            hidden, weight, given.rows, given.labels, given.weights, max_logits=150, **options
        )
        return hard + selected_soft_cross_entropy(hidden, weight, given.rows, given.teachers, scale=0.5, **options)[0]

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    of = (given.hidden, given.weight)
    expected, found = both(*of), compiled(*of)
    assert torch.allclose(found, expected)
    for one, other in zip(torch.autograd.grad(found, of), torch.autograd.grad(expected, of), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
