"""Block-diffusion training in one pass: noised copies of a sequence beside the clean one."""

from typing import Literal

from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.rule import Ids, Rule

__all__ = ["block_diffusion"]

_CLEAN_ORDERS = {"block_causal": "block", "token_causal": "position"}


def _clean_context(q: Ids, k: Ids, order: str) -> Tensor:
    noised = q["stream"] > 0
    clean_key = k["stream"] == 0
    own_block = (q["stream"] == k["stream"]) & (q["block"] == k["block"])
    context = clean_key & (k["block"] < q["block"])
    clean = clean_key & (k[order] <= q[order])
    return (noised & (own_block | context)) | (~noised & clean)


def _noisy_context(q: Ids, k: Ids, order: str) -> Tensor:
    noised = q["stream"] > 0
    own_stream = (q["stream"] == k["stream"]) & (k["block"] <= q["block"])
    clean = (k["stream"] == 0) & (k[order] <= q[order])
    return (noised & own_stream) | (~noised & clean)


def block_diffusion(
    *,
    clean: Literal["block_causal", "token_causal"] = "block_causal",
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
        clean: order of the clean stream. ``"token_causal"`` also needs ``position`` and makes the clean stream a plain
            AR forward (Efficient-DLM's hybrid objective)::

                block_diffusion(clean="token_causal")
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
    if clean not in _CLEAN_ORDERS:
        raise MaskError(f"clean={clean!r} was given to block_diffusion; it must be 'block_causal' or 'token_causal'.")
    if context not in ("clean", "noisy"):
        raise MaskError(f"context={context!r} was given to block_diffusion; it must be 'clean' or 'noisy'.")
    order = _CLEAN_ORDERS[clean]
    allows = _clean_context if context == "clean" else _noisy_context
    needs = frozenset({"stream", "block", order})
    return Rule(f"block_diffusion_{context}_context", allows, needs, needs, (order,))
