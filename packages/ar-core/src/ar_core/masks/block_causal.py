"""Left to right over blocks, both ways inside a block: how block-diffusion models read committed tokens."""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["block_causal"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return k["block"] <= q["block"]


def block_causal() -> Rule:
    """A query attends to keys of its own and earlier blocks; needs ``block``.

    The inference mask of Fast-dLLM v2 (arXiv 2509.26328, A.2). With a KV cache, keys and queries carry the block of
    their absolute or prompt-relative position; the last block may be short::

        block_causal()
        block     0 0 0 1 1 1 2 2
                  # # # . . . . .
                  # # # . . . . .
                  # # # . . . . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # # #
                  # # # # # # # #
    """
    return Rule("block_causal", _allows, frozenset({"block"}), frozenset({"block"}))
