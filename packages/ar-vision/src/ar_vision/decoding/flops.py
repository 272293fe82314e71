"""Floating-point operations of what runs, counted as it runs, whatever the model.

Source: ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.flop_counter import FlopCounterMode

__all__ = ["counted_flops"]


@contextmanager
def counted_flops(into: Counter[str] | None, phase: str) -> Iterator[None]:
    """Add what runs inside to a phase: matrix products, convolutions and attention, two operations a multiplication and addition.

    Pairs of query and key that a kernel computes count, also those behind a mask. Norms, activations, rotations, softmax and
    draws do not, as usual. Counting takes a part of a millisecond a pass in Python: never time what is counted.

    Args:
        into: operations by phase; None counts nothing and costs nothing.
        phase: such as "prefill" or "step".
    """
    if into is None:
        yield
        return
    with FlopCounterMode(display=False) as counter:
        yield
    into[phase] += counter.get_total_flops()
