"""Inputs and float64 results of both forms of `confidence`."""

import torch
from ar_kernels import confidence, confidence_from_hidden
from ar_kernels.confidence.reference import reference
from comparing import close, poisoned

PROBABILITY, ENTROPY = {torch.float64: 1e-12, torch.float32: 3e-6}, {torch.float64: 1e-11, torch.float32: 1e-5}


def compare_logits(rows: int, vocabulary: int, dtype: torch.dtype, implementation: str, device: str) -> None:
    """The op on logits against the float64 reference, with some ids banned and a temperature, memory poisoned."""
    generator = torch.Generator().manual_seed(rows * 7919 + vocabulary)
    logits = (4 * torch.randn(rows, vocabulary, generator=generator)).to(device, dtype)
    banned = tuple(torch.randperm(vocabulary, generator=generator)[: min(3, vocabulary - 1)].tolist())
    for options in ({}, {"temperature": 0.6, "banned_ids": banned}):
        with poisoned():
            found = confidence(logits, **options, implementation=implementation)
        _same(found, reference(logits.double(), **options), dtype)


def compare_hidden(
    size: tuple[int, int, int], dtype: torch.dtype, implementation: str, device: str, **settings: float
) -> None:
    """The op on hidden states against the float64 reference of their logits."""
    rows, vocabulary, width = size
    generator = torch.Generator().manual_seed(rows * 6271 + vocabulary)
    hidden = torch.randn(rows, width, generator=generator).to(device, dtype)
    weight = (3 * torch.randn(vocabulary, width, generator=generator) / width**0.5).to(device, dtype)
    banned = (vocabulary // 2,) if vocabulary > 1 else ()
    with poisoned():
        found = confidence_from_hidden(
            hidden, weight, temperature=0.8, banned_ids=banned, implementation=implementation, **settings
        )
    z = hidden.double() @ weight.double().T * settings.get("scale", 1.0)
    cap = settings.get("cap")
    _same(found, reference(z if cap is None else torch.tanh(z / cap) * cap, temperature=0.8, banned_ids=banned), dtype)


def _same(found, expected, dtype: torch.dtype) -> None:
    # Two logits may be nearer to each other than the dtype can tell; then either may be called the best.
    clear = expected.margin > 1e-5
    assert torch.equal(found.token[clear], expected.token[clear])
    close(found.probability, expected.probability, PROBABILITY[dtype], "probability")
    close(found.entropy + 1, expected.entropy + 1, ENTROPY[dtype], "entropy")
    close(found.margin + 1, expected.margin + 1, PROBABILITY[dtype], "margin")
