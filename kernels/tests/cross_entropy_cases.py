"""Inputs and float64 results of `selected_cross_entropy` and its soft form, for the implementations' tests."""

from dataclasses import dataclass

import torch
from ar_kernels import selected_cross_entropy, selected_soft_cross_entropy
from ar_kernels.selected_cross_entropy import reference
from comparing import close, poisoned
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
            assert abs(float(found[1] - wanted[1])) <= most * max(1.0, float(wanted[0].abs()))
