"""Left to right: the mask of every autoregressive transformer.

Source: the decoder of the transformer (arXiv 1706.03762, section 3.2.3).
"""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["causal"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return k["position"] <= q["position"]


def causal() -> Rule:
    """A query attends to keys at its own and smaller positions; needs ``position``.

    ::

        causal()
        position  0 1 2 3 4 5 6 7
                  # . . . . . . .
                  # # . . . . . .
                  # # # . . . . .
                  # # # # . . . .
                  # # # # # . . .
                  # # # # # # . .
                  # # # # # # # .
                  # # # # # # # #
    """
    return Rule("causal", _allows, frozenset({"position"}), frozenset({"position"}))
