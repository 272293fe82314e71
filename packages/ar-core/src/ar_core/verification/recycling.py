"""Rejection recycling: what the verifier has rejected is tried again wherever its first token turns up."""

from collections import deque
from collections.abc import Sequence

from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.errors import ConfigError
from ar_core.verification.draft import Draft
from ar_core.verification.proposer import CacheSharing, DraftReviewing, Proposer

__all__ = ["Recycling"]


class Recycling:
    """Adds recycled n-grams to the drafts of a Jacobi proposer (arXiv 2512.14681, rejection recycling).

    Where a draft was rejected in part, two sequences go to the row's pool, the oldest ones leaving it: the accepted tokens
    with the rejected ones behind them, and the verifier's guesses in their place. Wherever an entry holds the row's
    newest token, what follows there is a candidate; where it is shorter than the draft, the draft's own tokens
    complete it. The draft and its candidates are verified together, as one tree whose equal beginnings are
    shared: the published code copies the whole KV cache for every candidate instead, and looks at the first occurrence in an
    entry only, at no single candidate, and never at the newest entry.

    Args:
        guesser: whose drafts are added to; it also learns what every pass settles.
        pool: G ≥ 1, entries kept, and candidates tried in a pass.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, guesser: Proposer, *, pool: int = 4) -> None:
        if pool < 1:
            raise ConfigError(
                f"rejection recycling was given a pool of {pool}, but it keeps at least 1 entry; raise it or decode with the "
                "method 'jacobi'."
            )
        self.guesser, self.pool = guesser, pool
        self.wants_hidden = guesser.wants_hidden
        self._pools: list[deque[tuple[int, ...]]] = []
        self._asked: list[list[int]] = []

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Empty all pools."""
        self._pools = [deque(maxlen=self.pool) for _ in prompts]
        self._asked = [[] for _ in prompts]
        self.guesser.begin(prompts)

    def share(self, cache: WindowedKVCache) -> None:
        """Hand the verifier's cache on to a guesser that reads it."""
        if isinstance(self.guesser, CacheSharing):
            self.guesser.share(cache)

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Draft]:
        """See :class:`Proposer`; the guesser's draft first, then what the pool adds to it."""
        proposed = self.guesser.propose(rows, contexts, limits)
        drafts = []
        for row, context, given in zip(rows, contexts, proposed, strict=True):
            guessed = Draft.of(given)
            own = [guessed.tokens[node] for node in guessed.behind(-1)]
            self._asked[row] = own
            drafts.append(Draft.of_chains([own, *guessed.chains(), *self._candidates(row, context[-1], own)]))
        return drafts

    def review(self, row: int, draft: Draft, picks: Sequence[int]) -> None:
        """Hand the branches on to a guesser that learns from them."""
        if isinstance(self.guesser, DraftReviewing):
            self.guesser.review(row, draft, picks)

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Pool what was rejected and what the verifier would have had in its place.

        See :meth:`ar_core.verification.proposer.Proposer.observe`.
        """
        right = len(accepted) - 1
        if accepted and rest:
            self._push(row, (*accepted[:right], *self._asked[row][right : right + len(rest)]))
            self._push(row, (accepted[right], *rest))
        self.guesser.observe(row, accepted, rest, hidden)

    def _push(self, row: int, entry: tuple[int, ...]) -> None:
        if len(entry) > 1 and entry not in self._pools[row]:
            self._pools[row].append(entry)

    def _candidates(self, row: int, newest: int, own: Sequence[int]) -> list[list[int]]:
        """At most G continuations of ``newest``, the latest entries first, as long as the guesser's own draft."""
        found: list[list[int]] = []
        for entry in reversed(self._pools[row]):
            for at, token in enumerate(entry[:-1]):
                if token != newest:
                    continue
                follows = list(entry[at + 1 : at + 1 + len(own)])
                candidate = [*follows, *own[len(follows) :]]
                if candidate != own and candidate not in found:
                    found.append(candidate)
                if len(found) == self.pool:
                    return found
        return found
