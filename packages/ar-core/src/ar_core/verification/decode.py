"""The lossless loop with each of its proposers, under the signature that all decoders share."""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.sampling import Sampler
from ar_core.verification.jacobi import Jacobi
from ar_core.verification.ngram import NgramLookup
from ar_core.verification.pass_cost import TYPICAL_PASS_COST, PassCost
from ar_core.verification.proposer import Proposer
from ar_core.verification.speculative import speculative

__all__ = ["JacobiOptions", "LookupOptions", "decode"]


@dataclass(frozen=True)
class LookupOptions:
    """Settings of n-gram lookup.

    Raises:
        ConfigError: a value out of range.
    """

    max_ngram: int = 3
    """Longest suffix looked up."""
    min_ngram: int = 1
    """Shortest suffix looked up."""
    draft_length: int = 7
    """Longest draft."""
    fallback: bool = True
    """Draft less, down to nothing, where drafting does not pay."""
    pass_cost: PassCost = TYPICAL_PASS_COST
    """What passes of several tokens cost on this device, for `fallback`; `ar-decode tune` measures it."""

    def __post_init__(self) -> None:
        self.proposer()

    def proposer(self) -> Proposer:
        """A fresh proposer: nothing carries over from one call to the next, so that equal calls count equal passes."""
        return NgramLookup(
            max_ngram=self.max_ngram,
            min_ngram=self.min_ngram,
            draft_length=self.draft_length,
            session_history=False,
        )


@dataclass(frozen=True)
class JacobiOptions:
    """Settings of Jacobi decoding.

    Raises:
        ConfigError: a value out of range.
    """

    draft_length: int = 7
    """Tokens guessed ahead."""
    fallback: bool = True
    """Draft less, down to nothing, where drafting does not pay."""
    pass_cost: PassCost = TYPICAL_PASS_COST
    """What passes of several tokens cost on this device, for `fallback`; `ar-decode tune` measures it."""

    def __post_init__(self) -> None:
        self.proposer()

    def proposer(self) -> Proposer:
        """A fresh proposer."""
        return Jacobi(draft_length=self.draft_length)


def decode(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    options: LookupOptions | JacobiOptions,
    *,
    stop: StopRule,
    sampler: Sampler,
    seed: int | Sequence[int] = 0,
    on_token: OnToken | None = None,
    trace: bool = False,
) -> Decoded:
    """Decode with the proposer that `options` stand for; arguments, output and errors of `speculative`."""
    return speculative(
        backbone,
        prompts,
        options.proposer(),
        stop=stop,
        sampler=sampler,
        seed=seed,
        fallback=options.fallback,
        pass_cost=options.pass_cost,
        on_token=on_token,
        trace=trace,
    )
