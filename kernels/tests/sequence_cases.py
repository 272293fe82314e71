"""Inputs and float64 results of `sequence_logprob`, for the implementations' tests."""

import torch
from ar_kernels import sequence_logprob
from ar_kernels.sequence_logprob.reference import reference
from comparing import close, poisoned
from torch import Tensor

SHAPES = [
    (1, 1, 1, 1), (2, 1, 2, 1), (1, 5, 63, 17), (3, 7, 65, 9), (2, 16, 129, 31), (5, 3, 500, 20), (1, 33, 1025, 6), (4, 9, 2049, 14),
    (7, 2, 10, 100), (2, 40, 97, 65),
]  # fmt: skip
"""Sequences B, positions L, ids V, width C."""


def case(
    shape: tuple[int, int, int, int], dtype: torch.dtype, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, head, labels, and which positions are valid: about three of four, and of the last sequence none."""
    sequences, length, vocabulary, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    hidden = torch.randn(sequences, length, width, generator=generator)
    weight = 2 * torch.randn(vocabulary, width, generator=generator) / width**0.5
    labels = torch.randint(vocabulary, (sequences, length), generator=generator)
    valid = torch.rand(sequences, length, generator=generator) < 0.75
    valid[-1] = False
    return (
        *(one.to(device, dtype).requires_grad_() for one in (hidden, weight)),
        labels.to(device),
        valid.to(device),
    )


def gradients(found: Tensor, of: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Of a function that weighs every sequence differently, and is no sum of them."""
    worth = torch.linspace(-0.3, 0.7, len(found), device=found.device, dtype=found.dtype)
    return torch.autograd.grad((worth * found).sum() + (0.01 * found).sin().sum(), of)


def compare(
    shape: tuple[int, int, int, int], dtype: torch.dtype, settings: dict, implementation: str, device: str, most: float
) -> None:
    """Values and both gradients against the float64 reference, in chunks of a few rows, memory poisoned, with padding and without."""
    hidden, weight, labels, valid = case(shape, dtype, device)
    wide = (hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    for chosen in (None, valid):
        # What stands where nothing is valid is not looked at.
        given = labels if chosen is None else labels.masked_fill(~chosen, -100)
        with poisoned():
            found = sequence_logprob(
                hidden,
                weight,
                given,
                chosen,
                max_logits=3 * shape[2],
                implementation=implementation,
                **settings,
            )
            own = gradients(found, (hidden, weight))
        expected = reference(*wide, labels, chosen, **settings)
        assert found.dtype == torch.promote_types(dtype, torch.float32)
        close(found, expected, most, "log-probability")
        for what, one, other in zip(("hidden", "weight"), own, gradients(expected, wide), strict=True):
            assert one.dtype == dtype
            # One id alone is certain, and so is nothing at all: every gradient is 0.
            if shape[2] > 1 and other.abs().max() > 1e-12:
                close(one, other, 3 * most, f"gradient of {what}")
