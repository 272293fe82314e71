"""Jacobi iteration: the verifier's own guesses of the last pass are the next draft."""

from collections.abc import Sequence
from random import Random

from torch import Tensor

from ar_core.errors import ConfigError
from ar_core.verification.first_guess import FirstGuess, first_guess, guess_stream

__all__ = ["Jacobi"]


class Jacobi:
    """Fixed-point iteration of y_j ← argmax p(· | x, y_<j) over a running window of guesses.

    Each pass evaluates the whole window at once. The prefix on which draft and verifier agree is at its fixed
    point and final; the verifier's picks behind it, though made in a wrong context, are better guesses than
    the ones they replace and form the next draft (Jacobi decoding; arXiv 2512.14681 trains models for which
    this converges in few passes, here any causal model will do). The window slides with the accepted prefix instead of
    waiting for a whole block: the running-window variant of that paper, whose plain form is
    :class:`ar_core.verification.MultiBlock` with one block.

    Args:
        draft_length: guesses in the window, ≥ 1.
        init: what new places at the end of the window start from, a name of
            :data:`ar_core.verification.FIRST_GUESSES` or a policy.
        vocab_size: V, for "random_vocab".
        seed: of random guesses.

    Raises:
        ConfigError: a value out of range.
    """

    wants_hidden = False

    def __init__(
        self, *, draft_length: int = 7, init: str | FirstGuess = "carry", vocab_size: int = 1, seed: int = 0
    ) -> None:
        if draft_length < 1:
            raise ConfigError(
                f"Jacobi decoding was given draft_length={draft_length}, but a draft has at least 1 token; "
                "raise it or decode with the method 'ar'."
            )
        self.draft_length = draft_length
        self._init = first_guess(init)
        self._vocab_size, self._seed = vocab_size, seed
        self._guesses: list[list[int]] = []
        self._streams: list[Random] = []

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Forget all guesses."""
        self._guesses = [[] for _ in prompts]
        self._streams = [guess_stream(self._seed, prompt) for prompt in prompts]

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[list[int]]:
        """See :class:`Proposer`; ``draft_length`` tokens a row, or its limit."""
        drafts = []
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            guesses = self._guesses[row]
            new = self.draft_length - len(guesses)
            guesses.extend(self._init.fill(context, guesses, new, self._vocab_size, self._streams[row]))
            drafts.append(guesses[: min(limit, self.draft_length)])
        return drafts

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Slide the window past ``accepted`` and put the new guesses at its head.

        See :meth:`ar_core.verification.proposer.Proposer.observe`.
        """
        del hidden
        old = self._guesses[row]
        guesses = [*rest, *old[len(accepted) + len(rest) :]]
        self._guesses[row] = guesses if self._init.carries else guesses[: max(0, len(old) - len(accepted))]
