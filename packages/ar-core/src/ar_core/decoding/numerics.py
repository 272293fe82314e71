"""The check that a token was picked from numbers, without a read of its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ar_core.errors import NumericsError

__all__ = ["check_sound", "sound_or_negative"]


def sound_or_negative(tokens: Tensor, logits: Tensor) -> Tensor:
    """The picked ids, -1 where the logits were no numbers; to be read on the host in place of ``tokens``.

    Args:
        tokens: int64 `[R]`.
        logits: `[R, V]` that they were picked from, before any filter.

    Returns:
        int64 `[R]`.
    """
    # The maximum is NaN as soon as one logit is, and infinite where a sum overflowed.
    return torch.where(logits.amax(-1).isfinite(), tokens, -1)


def check_sound(tokens: Iterable[int]) -> None:
    """Refuse what :func:`sound_or_negative` has marked.

    Raises:
        NumericsError: an id is negative.
    """
    if any(token < 0 for token in tokens):
        raise NumericsError(
            "The model's logits are not numbers, so no token can be chosen; check its weights and the dtype it runs in."
        )
