"""What tests of all ops share: odd shapes, errors as ratios, poisoned memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

SIZES = [
    (1, 1, 1), (1, 2, 1), (2, 1, 3), (3, 7, 5), (1, 63, 17), (5, 64, 16), (7, 65, 9), (2, 100, 33), (9, 123, 3),
    (31, 127, 8), (32, 128, 32), (33, 129, 31), (63, 255, 7), (4, 257, 64), (6, 500, 20), (13, 511, 13), (8, 513, 48),
    (17, 777, 11), (3, 1000, 24), (2, 1023, 40), (2, 1025, 6), (64, 97, 65), (100, 10, 100), (127, 33, 2),
    (129, 5, 12), (5, 2047, 19), (3, 2048, 10), (4, 2049, 14), (2, 3001, 22), (1, 4099, 30), (11, 6, 1), (200, 3, 4),
]  # fmt: skip
"""Rows N, ids V, width C: ones, primes, neighbours of powers of two and of the tiles."""


def error_ratio(found: Tensor, expected: Tensor) -> float:
    """RMS of the difference over that of the expected values; infinite where something is not finite."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    if not torch.isfinite(found).all():
        return float("inf")
    scale = expected.square().mean().sqrt()
    return float((found - expected).square().mean().sqrt() / scale.clamp_min(1e-30)) if found.numel() else 0.0


def close(found: Tensor, expected: Tensor, most: float, name: str) -> None:
    """Fail with the op's name and both numbers."""
    ratio = error_ratio(found, expected)
    assert ratio <= most, f"{name}: error ratio {ratio:.2e}, allowed {most:.0e}"


def repeatable(run: Callable[[], Sequence[Tensor]]) -> None:
    """Fail where two runs differ in a bit."""
    for number, (one, other) in enumerate(zip(run(), run(), strict=True)):
        assert torch.equal(one, other), f"result {number} of a second run is another one"


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that was not written is NaN."""
    before = torch.utils.deterministic.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before[0]
        torch.use_deterministic_algorithms(before[1])
