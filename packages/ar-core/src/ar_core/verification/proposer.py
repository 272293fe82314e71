"""What a proposer owes the verifier.

Source: ours.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from ar_core.cache import WindowedKVCache
from ar_core.verification.draft import Draft

__all__ = ["CacheSharing", "DraftReviewing", "Drawing", "Proposer"]


@runtime_checkable
class Proposer(Protocol):
    """Guesses the next tokens of every row; the verifier keeps the right ones.

    A proposer can be wrong about anything: the output never depends on it, only the number of passes does. Rows are
    named by their index in the ``prompts`` of ``begin`` for the whole call, whichever rows are still running.

    The loop calls ``begin`` once, ``observe`` for every row after the prefill, then for each pass ``propose``
    once and ``observe`` once per running row. What else it can do for a proposer: :class:`CacheSharing`,
    :class:`DraftReviewing`.
    """

    wants_hidden: bool
    """Whether ``observe`` is to be handed the verifier's last hidden states."""

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Start a batch; ``prompts[row]`` are the ids of a row. What is kept of earlier batches is up to the proposer."""

    def propose(
        self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]
    ) -> Sequence[list[int] | Draft]:
        """Draft a chain or a tree for each row in ``rows``.

        Args:
            rows: indices of the running rows.
            contexts: ids known so far of each, prompt included; the draft continues after the last one. Not to
                be changed.
            limits: how many tokens ahead the loop can use a draft of each (0 = none); deeper tokens are cut off, and so
                are the last ones of a tree for which the cache has no room.

        Returns:
            One draft per row, ragged: a list of ids is a chain. An empty one costs that row nothing. Ids must lie in the
            vocabulary.
        """

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Learn what a pass settled.

        Args:
            row: index of the row.
            accepted: the tokens that are now final, in order (accepted draft tokens and the verifier's own one). If the row
                has ended, only those that stay in its output, perhaps none.
            rest: the verifier's picks at the positions behind ``accepted``, made with rejected draft tokens in
                the context: guesses, not results. In a tree, those along the main continuation (first child after first
                child) of the last accepted token. Empty when a draft was accepted to its end, and after the prefill.
            hidden: [n, C] last hidden states of the tokens that the pass settled in the cache, in the
                verifier's dtype and on its device (after the prefill: of the whole prompt); ``None`` unless
                ``wants_hidden``.
        """


@runtime_checkable
class CacheSharing(Protocol):
    """What a :class:`Proposer` has besides, if it drafts with the verifier's own weights and reads its cache."""

    def share(self, cache: WindowedKVCache) -> None:
        """Take the verifier's cache, after ``begin``.

        During ``propose`` its rows are those of the call, in their order, and each has committed all tokens of its context
        but the last. Passes of the proposer write behind them and must commit nothing (``cache.keep(0)``); the verifier
        overwrites what they leave there.
        """


@runtime_checkable
class Drawing(Protocol):
    """What a :class:`Proposer` has besides, if its drafts may carry densities.

    The guesses that ``observe`` hands on as ``rest`` were made with random numbers. Of such a proposer none of these comes
    again: else densities that lean on a guess would know the number by which their own token is judged, and the ratio rule
    would be biased. How many numbers a row takes, and so which tokens come out, then depends on how far its drafts are
    verified: on the fall-back, and towards the end on batch mates. The distribution does not.
    """

    draws: bool
    """Whether a draft may have ``densities``; constant."""


@runtime_checkable
class DraftReviewing(Protocol):
    """What a :class:`Proposer` has besides, if it learns from all branches of its drafts, not from the accepted one alone."""

    def review(self, row: int, draft: Draft, picks: Sequence[int]) -> None:
        """Learn what the verifier picked at every place of a pass, before ``observe`` is told what it settled.

        Args:
            row: index of the row.
            draft: the draft as it was verified, cut where it did not fit; empty after the prefill.
            picks: the verifier's token behind the newest committed one, then behind each of the draft's n tokens;
                ``draft.along`` finds those of one branch.
        """
