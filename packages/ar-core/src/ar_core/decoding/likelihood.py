"""Log-likelihood of a text under a causal model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ar_core.decoding.backbone import Backbone
from ar_core.decoding.causal_pass import uncached_pass
from ar_core.errors import DataError

__all__ = ["LogLikelihood", "causal_log_likelihood", "check_sequence"]


@dataclass(frozen=True)
class LogLikelihood:
    """How probable a continuation is.

    Attributes:
        total: log p(continuation | context), natural logarithm, of all its tokens; an estimate or a bound where the method
            that computed it says so.
        tokens: how many tokens it has.
        greedy: whether every token is the most probable one at its turn.
    """

    total: float
    tokens: int
    greedy: bool


@torch.no_grad()
def causal_log_likelihood(backbone: Backbone, context: Sequence[int], continuation: Sequence[int]) -> LogLikelihood:
    """Sum of log p(token | all before it) from one causal forward: exact for every autoregressive model.

    Args:
        backbone: the model.
        context: P >= 1 ids (a beginning-of-sequence id will do).
        continuation: n >= 1 ids that follow it.

    Raises:
        DataError: one of the two is empty, or together they do not fit the model's context.
    """
    check_sequence(backbone, context, continuation, len(context) + len(continuation) - 1)
    hidden = uncached_pass(backbone, [*context, *continuation[:-1]])[len(context) - 1 :]
    logits = backbone.head(hidden)
    logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    wanted = torch.tensor(list(continuation), device=logs.device)
    return LogLikelihood(
        float(logs.gather(1, wanted[:, None]).double().sum()),
        len(continuation),
        bool((logs.argmax(-1) == wanted).all()),
    )


def check_sequence(backbone: Backbone, context: Sequence[int], continuation: Sequence[int], positions: int) -> None:
    """Refuse what has no likelihood, or needs more ``positions`` than the model has; raises ``DataError``."""
    if not context or not continuation:
        raise DataError(
            f"a likelihood was asked of {len(continuation)} tokens after {len(context)}; give at least one token of each (a "
            "beginning-of-sequence id will do for the context)."
        )
    if positions > backbone.context_length:
        raise DataError(
            f"a likelihood of {len(continuation)} tokens after {len(context)} takes {positions} positions, and the model's context is "
            f"{backbone.context_length}; shorten the context."
        )
