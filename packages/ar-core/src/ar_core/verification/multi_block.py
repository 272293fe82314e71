"""Jacobi iteration block by block, with blocks ahead of the one that is being settled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from torch import Tensor

from ar_core.errors import ConfigError
from ar_core.verification.draft import Draft
from ar_core.verification.first_guess import FirstGuess, first_guess, guess_stream

__all__ = ["MultiBlock"]


@dataclass
class _Window:
    """The blocks in flight of one row.

    Attributes:
        stream: of its random guesses.
        left: places of the active block behind the row's newest token.
        guesses: for these places, then for n of each block ahead; of "carry" perhaps one for the place behind them all.
        frozen: of each block ahead, how many leading guesses stay until it becomes the active one.
        promoted: whether the active block has been ahead, and so is drafted with a fresh start beside its guesses.
        fresh: guesses of the fresh start for the places of the active block; empty before it is first drafted.
        draft, picks: what the last pass verified, and the verifier's token at each of its places.
    """

    stream: Random
    left: int = 0
    guesses: list[int] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)
    promoted: bool = False
    fresh: list[int] = field(default_factory=list)
    draft: Draft = field(default_factory=lambda: Draft(()))
    picks: Sequence[int] = ()

    def along(self, chain: Sequence[int]) -> list[int]:
        """The verifier's tokens at the places of a chain and behind it, as far as the last pass held it."""
        places = [0, *(node + 1 for node in self.draft.along(chain))]
        return [self.picks[place] for place in places if self.picks]


class MultiBlock:
    """Multi-block decoding of Jacobi Forcing (arXiv 2512.14681, Algorithm 1), corrected.

    The active block of n tokens shrinks as its prefix becomes final, and is iterated until it is. Once the newest block in
    flight is accepted to the share r, another one is started behind it, up to K. A block ahead is refined in the same
    passes: while its guesses agree with the verifier they are frozen, behind them they are replaced by the verifier's. When
    the active block is complete, the next one is promoted: its guesses, frozen or not, are the draft that is verified
    next. Because all blocks lie behind each other in one causal window, a pass that accepts the rest of the active
    block goes on accepting in the next.

    Guesses made ahead are not always better than a start from scratch. So a promoted block is drafted as a tree of two: its
    guesses, and a branch that starts as the block would have started without having been ahead. Both are iterated, each by the
    verifier's tokens along itself, until the block is done, and a pass takes what the better one brings. As long as no token
    comes from the guesses alone, the branch is the iteration of K = 1 itself; from then on it is that iteration with tokens
    in its context that are right and that K = 1 does not know yet. These may even mislead it: no order of passes between K = 1
    and K = 2 holds for every model and prompt.

    With K = 1 this is plain Jacobi decoding over blocks. The published code ends its call as soon as the first block
    is done and so never uses a second one; here the promoted blocks are counted.

    Args:
        block_length: n ≥ 1 tokens; 1 is plain autoregressive decoding.
        blocks: K ≥ 1 blocks in flight.
        spawn_ratio: r in [0, 1]: start another block when ⌈r · n⌉ tokens of the newest are accepted.
        init: what a new block starts from, a name of :data:`ar_core.verification.FIRST_GUESSES` or a policy.
        vocab_size: V, for "random_vocab".
        seed: of random guesses.

    Attributes:
        promoted: blocks ahead that became the active one, or were accepted without becoming it, since ``begin``.

    Raises:
        ConfigError: a value out of range.
    """

    wants_hidden = False

    def __init__(
        self,
        *,
        block_length: int = 16,
        blocks: int = 2,
        spawn_ratio: float = 0.85,
        init: str | FirstGuess = "carry",
        vocab_size: int = 1,
        seed: int = 0,
    ) -> None:
        if block_length < 1 or blocks < 1 or not 0 <= spawn_ratio <= 1:
            raise ConfigError(
                f"multi-block decoding was given block_length={block_length}, blocks={blocks} and "
                f"spawn_ratio={spawn_ratio}, but a block has at least 1 token, at least 1 block is in flight and the ratio lies "
                "between 0 and 1; change what is out of range."
            )
        self.block_length, self.blocks = block_length, blocks
        self.promoted = 0
        self._threshold = math.ceil(spawn_ratio * block_length)
        self._init = first_guess(init)
        self._vocab_size, self._seed = vocab_size, seed
        self._windows: list[_Window] = []

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Forget all blocks."""
        self.promoted = 0
        self._windows = [_Window(guess_stream(self._seed, prompt)) for prompt in prompts]

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Draft]:
        """See :class:`Proposer`; the rest of the active block and all blocks ahead of it."""
        drafts = []
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            window = self._windows[row]
            places = window.left + self.block_length * len(window.frozen)
            new = places - len(window.guesses)
            if new > 0:
                window.guesses += self._init.fill(context, window.guesses, new, self._vocab_size, window.stream)
            chains = [window.guesses[: min(limit, places)]]
            if window.promoted:
                if not window.fresh:
                    window.fresh = self._init.fill(context, [], window.left, self._vocab_size, window.stream)
                chains.append(window.fresh[: min(limit, window.left)])
            drafts.append(Draft.of_chains(chains))
        return drafts

    def review(self, row: int, draft: Draft, picks: Sequence[int]) -> None:
        """Remember what the pass said of every branch; see :class:`ar_core.verification.DraftReviewing`."""
        window = self._windows[row]
        window.draft, window.picks = draft, picks

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Refine the guesses, promote blocks that have been reached, and start another one if it is time.

        See :meth:`ar_core.verification.proposer.Proposer.observe`.
        """
        del hidden
        window, n, gained = self._windows[row], self.block_length, len(accepted)
        drafted = list(accepted[:-1])
        if window.fresh[: gained - 1] == drafted != window.guesses[: gained - 1]:
            rest = window.along(window.guesses)[gained:]
        if window.fresh:
            seen = window.along(window.fresh)
            window.fresh = [*seen[gained:], *window.fresh[max(gained, len(seen)) :]]
        self._refine(window, gained, rest)
        window.left -= gained
        while window.left < 0 and window.frozen:
            window.left += n
            window.frozen.pop(0)
            window.promoted, window.fresh = True, []
            self.promoted += 1
        if window.left < 0:
            window.left, window.promoted, window.fresh = n - 1, False, []
        settled = window.frozen[-1] if window.frozen else n - window.left
        if len(window.frozen) + 1 < self.blocks and settled >= self._threshold:
            window.frozen.append(0)

    def _refine(self, window: _Window, gained: int, rest: Sequence[int]) -> None:
        """Move the guesses to what lies behind ``gained`` tokens; those that are not frozen become the verifier's."""
        n, old = self.block_length, window.guesses
        places = window.left + n * len(window.frozen)
        guesses = [*rest, *old[gained + len(rest) :]]
        for block, frozen in enumerate(window.frozen):
            begin = window.left + block * n
            agreed = frozen
            while (
                agreed < n and (at := begin + agreed - gained) < len(rest) and (at < 0 or old[at + gained] == rest[at])
            ):
                agreed += 1
            for at in range(max(0, begin - gained), max(0, begin + frozen - gained)):
                guesses[at] = old[at + gained]
            window.frozen[block] = agreed
        window.guesses = guesses if self._init.carries else guesses[: max(0, places - gained)]
