"""The promise of lossless methods, held token by token against autoregressive decoding."""

from collections.abc import Iterable, Sequence

import torch
from ar_core.decoding import Decoded
from ar_core.hf import HFBackbone
from ar_core.verification import FirstDifference, first_difference

__all__ = ["NEAR_TIE", "NotLosslessError", "near_tie"]

NEAR_TIE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""How far the logit of a token may fall short of the best and be put down to rounding, by dtype: passes of different widths
round differently. bfloat16 keeps eight bits, so that logits near 30 lie an eighth apart; two such steps are allowed."""


class NotLosslessError(AssertionError):
    """A lossless method gave other tokens than autoregressive decoding: a defect, not an input error."""


def near_tie(
    backbone: HFBackbone,
    ids: Sequence[int],
    expected: Decoded,
    got: Decoded,
    *,
    method: str,
    prompt: str,
    stop_ids: Iterable[int],
) -> FirstDifference | None:
    """Compare the output of a lossless method with the autoregressive one, batch 1.

    Args:
        backbone: the model of both.
        ids: of the prompt.
        expected: the autoregressive output.
        got: the other one.
        method: its name, for the message.
        prompt: what to call the prompt in the message.
        stop_ids: ids that end an output.

    Returns:
        None if all tokens are the same, or the near tie at which they part.

    Raises:
        NotLosslessError: tokens differ at a step that is no near tie.
    """
    difference = first_difference(backbone, ids, expected.tokens[0], got.tokens[0], stop_ids=stop_ids)
    if difference is not None and difference.margin > NEAR_TIE[backbone.dtype]:
        raise NotLosslessError(f"{method} is not lossless on the prompt {prompt!r}: {difference}")
    return difference
