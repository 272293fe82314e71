"""Log-likelihoods by whatever a method's model allows."""

from collections.abc import Sequence
from typing import Any

from ar_core.block_diffusion import chain_log_likelihood, first_token_log_likelihood, nelbo_log_likelihood
from ar_core.config import did_you_mean
from ar_core.decoding import LogLikelihood, causal_log_likelihood
from ar_core.errors import ConfigError, DataError

from .methods import Method
from .session import Session

__all__ = ["ESTIMATORS", "check_estimator", "encode_pair", "log_likelihood"]

ESTIMATORS = ("auto", "causal", "chain", "nelbo", "first_token")
"""``auto``: the causal forward for methods whose model is autoregressive, the chain for block diffusion."""


def check_estimator(method: Method, estimator: str) -> str:
    """The estimator that is meant for a method.

    Raises:
        ConfigError: no such estimator, or a block-diffusion one for a method without blocks.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(f"there is no likelihood estimator {estimator!r}; {did_you_mean(estimator, ESTIMATORS)}")
    if estimator == "auto":
        return "causal" if method.policy is None else "chain"
    if estimator != "causal" and method.policy is None:
        raise ConfigError(
            f"the likelihood {estimator!r} is for block diffusion and the method {method.name!r} has no blocks; use causal."
        )
    return estimator


def log_likelihood(
    session: Session,
    method: Method,
    context: Sequence[int],
    continuation: Sequence[int],
    *,
    estimator: str,
    samples: int = 32,
    seed: int = 0,
) -> LogLikelihood:
    """log p(continuation | context) under a method's model.

    Args:
        session: the model.
        method: whose blocks and masks count.
        context: P >= 1 ids.
        continuation: n >= 1 ids.
        estimator: see :data:`ESTIMATORS` and ``ar_core.block_diffusion``.
        samples: K of ``nelbo``.
        seed: of the masks of ``nelbo``.

    Raises:
        ConfigError: see :func:`check_estimator`.
        DataError: nothing to score, or too long for the context.
    """
    chosen = check_estimator(method, estimator)
    policy = method.policy
    if chosen == "causal" or policy is None:
        return causal_log_likelihood(session.backbone, context, continuation)
    if chosen == "chain":
        return chain_log_likelihood(session.backbone, context, continuation, policy)
    if chosen == "nelbo":
        return nelbo_log_likelihood(session.backbone, context, continuation, policy, samples=samples, seed=seed)
    end = session.tokenizer.eos_token_id
    return first_token_log_likelihood(session.backbone, context, continuation, policy, end_id=end)


def encode_pair(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of a text and of what follows it, as the tokenizer writes them together.

    Spaces at the end of the context belong to the continuation, where tokenizers put them. An empty context is the
    beginning-of-sequence token, or the end-of-sequence token where there is none.

    Raises:
        DataError: the continuation adds no token, or an empty context has no token to stand for it.
    """
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    if bare:
        before = list(tokenizer(bare, verbose=False)["input_ids"])
        whole = list(tokenizer(bare + continuation, verbose=False)["input_ids"])
        after = whole[len(before) :]
        before = whole[: len(before)]
    else:
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        before = [] if start is None else [start]
        after = list(tokenizer(continuation, add_special_tokens=False, verbose=False)["input_ids"])
    if not before or not after:
        raise DataError(
            f"the continuation {continuation[:40]!r} of the context {context[-40:]!r} has no tokens of its own; give text on both "
            "sides, or a tokenizer with a beginning-of-sequence token."
        )
    return before, after
