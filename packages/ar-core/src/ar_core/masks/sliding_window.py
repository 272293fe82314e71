"""A bound on how far back a query sees.

Source: Mistral 7B (arXiv 2310.06825, section 2).
"""

from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.rule import Ids, Rule

__all__ = ["sliding_window"]


def _allows(q: Ids, k: Ids, size: int) -> Tensor:
    return k["position"] > q["position"] - size


def sliding_window(size: int) -> Rule:
    """A query attends to keys fewer than ``size`` positions behind it; needs ``position``.

    The window bounds the past only: combine it as ``causal() & sliding_window(size)``, which is what models with
    sliding-window layers use (the query itself counts as one of the ``size``)::

        causal() & sliding_window(3)
        position  0 1 2 3 4 5 6 7
                  # . . . . . . .
                  # # . . . . . .
                  # # # . . . . .
                  . # # # . . . .
                  . . # # # . . .
                  . . . # # # . .
                  . . . . # # # .
                  . . . . . # # #

    Args:
        size: number of positions, at least 1.

    Raises:
        MaskError: ``size`` is below 1.
    """
    if size < 1:
        raise MaskError(
            f"A sliding window of {size} positions was asked for; it must hold at least 1, the query itself."
        )
    return Rule("sliding_window", _allows, frozenset({"position"}), frozenset({"position"}), (size,))
