"""Keeps the samples packed into one row apart.

Source: packing without cross-contamination (arXiv 2107.02027).
"""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["document"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return q["document"] == k["document"]


def document() -> Rule:
    """A query attends to keys of its own document; needs ``document``.

    Positions and blocks may restart in every document: ``causal() & document()`` stays right::

        causal() & document()
        document  0 0 0 1 1 1 1 2
        position  0 1 2 0 1 2 3 0
                  # . . . . . . .
                  # # . . . . . .
                  # # # . . . . .
                  . . . # . . . .
                  . . . # # . . .
                  . . . # # # . .
                  . . . # # # # .
                  . . . . . . . #
    """
    return Rule("document", _allows, frozenset({"document"}), frozenset({"document"}))
