"""A prefix that everybody sees.

Source: prefix language models (arXiv 1910.10683, section 3.2.1).
"""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["prefix"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return k["prefix"] > 0


def prefix() -> Rule:
    """A query attends to keys whose ``prefix`` is 1; only keys need it.

    ``causal() | prefix()`` is the mask of a prefix language model: bidirectional inside the prefix, causal after it::

        causal() | prefix()
        prefix    1 1 1 0 0 0 0 0
        position  0 1 2 3 4 5 6 7
                  # # # . . . . .
                  # # # . . . . .
                  # # # . . . . .
                  # # # # . . . .
                  # # # # # . . .
                  # # # # # # . .
                  # # # # # # # .
                  # # # # # # # #
    """
    return Rule("prefix", _allows, keys=frozenset({"prefix"}))
