"""Distilled Decoding: coarser scales and itself, so that a whole image is read off its noise."""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["scale_strict_plus_self"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return (k["scale"] < q["scale"]) | (k["position"] == q["position"])


def scale_strict_plus_self() -> Rule:
    """A query attends to strictly coarser scales and to itself; needs ``scale`` and ``position`` (unique in a row).

    The student's mask in Distilled Decoding (arXiv 2412.17153): a token's output depends on its own noise and on
    coarser scales, never on the other tokens of its scale::

        scale_strict_plus_self()
        scale     0 1 1 2 2 2 2 2
        position  0 1 2 3 4 5 6 7
                  # . . . . . . .
                  # # . . . . . .
                  # . # . . . . .
                  # # # # . . . .
                  # # # . # . . .
                  # # # . . # . .
                  # # # . . . # .
                  # # # . . . . #
    """
    needs = frozenset({"scale", "position"})
    return Rule("scale_strict_plus_self", _allows, needs, needs)
