"""The lossless loop with each of its proposers, under the signature that all decoders share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_types
from ar_core.decoding import Backbone, Decoded, OnToken, StopRule
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from ar_core.verification.jacobi import Jacobi
from ar_core.verification.multi_block import MultiBlock
from ar_core.verification.ngram import NgramLookup
from ar_core.verification.pass_cost import TYPICAL_PASS_COST, PassCost
from ar_core.verification.proposer import Proposer
from ar_core.verification.recycling import Recycling
from ar_core.verification.speculative import speculative

__all__ = ["JacobiOptions", "LookupOptions", "MultiBlockOptions", "RecyclingOptions", "VerifiedOptions", "decode"]

Window = Literal["running", "block"]


@dataclass(frozen=True, kw_only=True)
class VerifiedOptions(ABC):
    """Settings that all lossless decoders share.

    Raises:
        ConfigError: a value out of range.
    """

    fallback: bool = True
    """Draft less, down to nothing, where drafting does not pay."""
    pass_cost: PassCost = TYPICAL_PASS_COST
    """What passes of several tokens cost on this device, for `fallback`; `ar-decode tune` measures it."""

    def __post_init__(self) -> None:
        require_types(self)
        self.proposer(1)

    @abstractmethod
    def proposer(self, vocab_size: int) -> Proposer:
        """A fresh proposer: nothing carries over from one call to the next, so that equal calls count equal passes."""


@dataclass(frozen=True, kw_only=True)
class LookupOptions(VerifiedOptions):
    """Settings of n-gram lookup."""

    max_ngram: int = 3
    """Longest suffix looked up."""
    min_ngram: int = 1
    """Shortest suffix looked up."""
    draft_length: int = 7
    """Longest draft."""

    def proposer(self, vocab_size: int) -> Proposer:
        """A fresh proposer."""
        del vocab_size
        return NgramLookup(
            max_ngram=self.max_ngram,
            min_ngram=self.min_ngram,
            draft_length=self.draft_length,
            session_history=False,
        )


@dataclass(frozen=True, kw_only=True)
class JacobiOptions(VerifiedOptions):
    """Settings of Jacobi decoding."""

    draft_length: int = 7
    """Tokens guessed ahead; n - 1 for the paper's block of n."""
    init: str = "carry"
    """What places start from that no pass has looked at: carry, prompt_sample, random_vocab or repeat_last."""
    window: Window = "running"
    """Whether the window runs with what is accepted, or is a block that shrinks until it is done, as in the paper."""

    def proposer(self, vocab_size: int) -> Proposer:
        """A fresh proposer."""
        running = Jacobi(draft_length=self.draft_length, init=self.init, vocab_size=vocab_size)
        if self.window == "running":
            return running
        return MultiBlock(block_length=self.draft_length + 1, blocks=1, init=self.init, vocab_size=vocab_size)


@dataclass(frozen=True, kw_only=True)
class RecyclingOptions(JacobiOptions):
    """Settings of Jacobi decoding with rejection recycling."""

    pool: int = 4
    """G: rejected sequences kept, and candidates tried in a pass."""

    def proposer(self, vocab_size: int) -> Proposer:
        """A fresh proposer."""
        return Recycling(super().proposer(vocab_size), pool=self.pool)


@dataclass(frozen=True, kw_only=True)
class MultiBlockOptions(VerifiedOptions):
    """Settings of multi-block Jacobi decoding. Published for 7B models on one H200: n = 64, K = 2, r = 0.85, G = 4."""

    block_length: int = 16
    """n: tokens of a block."""
    blocks: int = 2
    """K: blocks in flight."""
    spawn_ratio: float = 0.85
    """r: share of the newest block that is accepted when another one is started."""
    init: str = "carry"
    """What a new block starts from: carry, prompt_sample, random_vocab or repeat_last."""
    pool: int = 0
    """G: rejected sequences kept, and candidates tried in a pass; 0 recycles nothing."""

    def proposer(self, vocab_size: int) -> Proposer:
        """A fresh proposer."""
        if self.pool < 0:
            raise ConfigError(
                f"multi-block decoding was given a pool of {self.pool}; give the number of sequences that it keeps, or 0 to "
                "recycle nothing."
            )
        blocks = MultiBlock(
            block_length=self.block_length,
            blocks=self.blocks,
            spawn_ratio=self.spawn_ratio,
            init=self.init,
            vocab_size=vocab_size,
        )
        return blocks if self.pool == 0 else Recycling(blocks, pool=self.pool)


def decode(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    options: VerifiedOptions,
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
        options.proposer(backbone.vocab_size),
        stop=stop,
        sampler=sampler,
        seed=seed,
        fallback=options.fallback,
        pass_cost=options.pass_cost,
        on_token=on_token,
        trace=trace,
    )
