"""Block-diffusion training in one pass: noised copies of a sequence beside the clean one."""

from typing import Literal

from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.rule import Ids, Rule

__all__ = ["block_diffusion"]

_ORDERS = {"block": "block", "token": "position"}


def _allows(q: Ids, k: Ids, clean: str, context: str) -> Tensor:
    order = _ORDERS[clean]
    noised_query, clean_key = q["stream"] > 0, k["stream"] == 0
    own_stream = q["stream"] == k["stream"]
    if context == "clean":
        noised = (own_stream & (k["block"] == q["block"])) | (clean_key & (k["block"] < q["block"]))
    else:
        noised = own_stream & (k["block"] <= q["block"])
    return (noised_query & noised) | (~noised_query & clean_key & (k[order] <= q[order]))


def block_diffusion(
    *,
    clean: Literal["block", "token"] = "block",
    context: Literal["clean", "noisy"] = "clean",
) -> Rule:
    """A noised query attends to its own noised block and to earlier clean blocks, a clean query to clean tokens only.

    Needs ``stream`` (0 clean; 1, 2, ... noised views) and ``block``. The ids decide the layout: [noised | clean], 2L
    tokens (BD3-LM; Fast-dLLM v2, arXiv 2509.26328, A.2), or [view 1 | view 2 | clean], 3L tokens, where complementary
    views share one clean stream; views never see each other, so both layouts compute the same. Pruned blocks are simply
    left out. Packed samples: ``& document()``. The 2L layout, blocks of two::

        block_diffusion()
        stream    1 1 1 1 0 0 0 0
        block     0 0 1 1 0 0 1 1
                  # # . . . . . .
                  # # . . . . . .
                  . . # # # # . .
                  . . # # # # . .
                  . . . . # # . .
                  . . . . # # . .
                  . . . . # # # #
                  . . . . # # # #

    The 3L layout, two blocks, the second of one token and dropped from view 2::

        block_diffusion()
        stream    1 1 1 2 2 0 0 0
        block     0 0 1 0 0 0 0 1
                  # # . . . . . .
                  # # . . . . . .
                  . . # . . # # .
                  . . . # # . . .
                  . . . # # . . .
                  . . . . . # # .
                  . . . . . # # .
                  . . . . . # # #

    Args:
        clean: whether the clean stream is causal over blocks or over tokens. ``"token"`` also needs ``position``
            and makes the clean stream a plain AR forward (Efficient-DLM's hybrid objective)::

                block_diffusion(clean="token")
                stream    1 1 1 1 0 0 0 0
                block     0 0 1 1 0 0 1 1
                position  0 1 2 3 0 1 2 3
                          # # . . . . . .
                          # # . . . . . .
                          . . # # # # . .
                          . . # # # # . .
                          . . . . # . . .
                          . . . . # # . .
                          . . . . # # # .
                          . . . . # # # #

        context: what noised queries see of earlier blocks. ``"noisy"`` shows them their own stream's noised blocks
            in place of the clean ones::

                block_diffusion(context="noisy")
                stream    1 1 1 1 0 0 0 0
                block     0 0 1 1 0 0 1 1
                          # # . . . . . .
                          # # . . . . . .
                          # # # # . . . .
                          # # # # . . . .
                          . . . . # # . .
                          . . . . # # . .
                          . . . . # # # #
                          . . . . # # # #

    Raises:
        MaskError: an option has another value.
    """
    if clean not in _ORDERS:
        raise MaskError(f"clean={clean!r} was given to block_diffusion; it must be 'block' or 'token'.")
    if context not in ("clean", "noisy"):
        raise MaskError(f"context={context!r} was given to block_diffusion; it must be 'clean' or 'noisy'.")
    needs = frozenset({"stream", "block", _ORDERS[clean]})
    return Rule("block_diffusion", _allows, needs, needs, (clean, context))
