"""Everything visible.

Source: the encoder of the transformer (arXiv 1706.03762, section 3.2.3).
"""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["bidirectional"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return (q.index >= 0) & (k.index >= 0)


def bidirectional() -> Rule:
    """Every query attends to every key; needs no ids.

    Backends skip masking altogether for it (``Mask.is_full``)::

        bidirectional()
        position  0 1 2 3 4 5 6 7
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
    """
    return Rule("bidirectional", _allows)
