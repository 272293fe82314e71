"""Hides keys that hold no token.

Source: ours; what every library does with padding.
"""

from torch import Tensor

from ar_core.masks.rule import Ids, Rule

__all__ = ["padding"]


def _allows(q: Ids, k: Ids) -> Tensor:
    return k["valid"] > 0


def padding() -> Rule:
    """A query attends to keys whose ``valid`` is 1; only keys need it.

    Padding tokens as queries are left alone: what they compute is never read. With a KV cache the unwritten slots are
    the padding (``WindowedKVCache.key_tokens``)::

        padding()
        valid     1 1 1 1 1 1 0 0
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
                  # # # # # # . .
    """
    return Rule("padding", _allows, keys=frozenset({"valid"}))
