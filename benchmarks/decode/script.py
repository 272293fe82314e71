"""A proposer whose drafts are right for a given number of tokens, whatever the one inside it drafts."""

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any

from ar_core.cache import WindowedKVCache
from ar_core.verification import CacheSharing, Draft, DraftReviewing, Proposer
from torch import Tensor

__all__ = ["ScriptedProposer"]

NOISE = 4096


class ScriptedProposer:
    """Lets a proposer do its work, and gives its drafts other tokens: of their main line, the first `right` are what the model
    says and the next is not; no branch is right. A main line that is shorter is made long enough.

    The guesses that the proposer learns from are random ids, so that its drafts have the shapes that they have where guesses are
    wrong. Its own work counts as it would without a script; the script itself costs a look-up a draft.

    Args:
        inner: the proposer.
        right: draft tokens that are accepted in every pass.
        token: what the model says everywhere.
        vocab_size: V.
    """

    def __init__(self, inner: Proposer, *, right: int, token: int, vocab_size: int) -> None:
        self.inner, self.right, self.token, self.vocab_size = inner, right, token, vocab_size
        self.wants_hidden = inner.wants_hidden
        stream = Random(0)
        self._noise = [stream.randrange(vocab_size) for _ in range(NOISE)]
        self._at = 0
        self._own: dict[int, Draft] = {}

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """See :class:`Proposer`."""
        self._at, self._own = 0, {}
        self.inner.begin(prompts)

    def share(self, cache: WindowedKVCache) -> None:
        """Hand the verifier's cache on."""
        if isinstance(self.inner, CacheSharing):
            self.inner.share(cache)

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Draft]:
        """The inner drafts with scripted tokens."""
        drafts = []
        for row, proposed in zip(rows, self.inner.propose(rows, contexts, limits), strict=True):
            own = self._own[row] = Draft.of(proposed)
            parents = None if own.parents is None else tuple(own.parents)
            drafts.append(scripted(len(own), parents, self.right, self.token, self.vocab_size))
        return drafts

    def review(self, row: int, draft: Draft, picks: Sequence[int]) -> None:
        """Hand on the proposer's own draft, as far as it was verified, with random ids as picks."""
        if isinstance(self.inner, DraftReviewing):
            own = self._own.get(row, draft).cut(len(draft), len(draft))
            self.inner.review(row, own, self._guesses(len(own) + 1))

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Hand on what was accepted, and random ids as guesses."""
        self.inner.observe(row, accepted, self._guesses(len(rest)), hidden)

    def _guesses(self, count: int) -> list[int]:
        self._at = self._at + 1 if self._at + 1 + count < NOISE else 0
        return self._noise[self._at : self._at + count]


@lru_cache(maxsize=1024)
def scripted(length: int, parents: tuple[int, ...] | None, right: int, token: int, vocab_size: int) -> Draft:
    """A draft of `length` tokens in this shape (`parents`; None: a chain): right for exactly `right` tokens, if it is verified
    in full."""
    wrong = [(token + 1 + offset) % vocab_size for offset in range(min(vocab_size - 1, length + right))]
    if parents is None:
        return Draft([token] * right + wrong[:1] * (length - right))
    main = Draft(range(length), parents).behind(-1)
    correct = set(main[:right])
    siblings: dict[int, int] = {}
    tokens: list[int] = []
    for node, parent in enumerate(parents):
        known = siblings.get(parent, 0)
        siblings[parent] = known + (node not in correct)
        tokens.append(token if node in correct else wrong[known])
    longer: list[Any] = [*parents]
    for _ in range(right - len(main)):
        longer.append(main[-1] if main else -1)
        main.append(len(tokens))
        tokens.append(token)
    return Draft(tokens, longer)
