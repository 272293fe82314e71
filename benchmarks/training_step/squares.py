"""Whether anything of queries x keys exists."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .arms import Arm

__all__ = ["counting"]

COMPILED = "flex"
"""It would not be compiled while its operations are looked at."""


class Squares(TorchDispatchMode):
    """Counts the tensors made of which two dimensions are a whole sequence of `length` tokens: scores and masks."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.number = length, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and look at what it returns."""
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and list(tensor.shape).count(self.length) >= 2:
                self.number += 1
        return out


@contextmanager
def counting(arm: Arm, length: int) -> Iterator[dict[str, int]]:
    """Count the T x T tensors that are made inside.

    Args:
        arm: which computes there.
        length: T, tokens of a row.

    Yields:
        Their number under the arm's name, once it is left; nothing for an arm that is compiled.
    """
    found: dict[str, int] = {}
    if arm.backend == COMPILED:
        yield found
        return
    with Squares(length) as made:
        yield found
    found[arm.name] = made.number
