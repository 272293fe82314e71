"""Next-scale prediction: coarse to fine, both ways inside a scale."""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["scale_causal"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return k["scale"] <= q["scale"]


def scale_causal() -> Rule:
    """A query attends to keys of its own and coarser scales; needs ``scale``.

    The training mask of VAR (arXiv 2404.02905, section 3.2). Three scales of 1, 2 and 5 tokens::

        scale_causal()
        scale     0 1 1 2 2 2 2 2
                  # . . . . . . .
                  # # # . . . . .
                  # # # . . . . .
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
                  # # # # # # # #
    """
    return Rule("scale_causal", _allows, frozenset({"scale"}), frozenset({"scale"}))
