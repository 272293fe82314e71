"""Jacobi iteration: the verifier's own guesses of the last pass are the next draft."""

from collections.abc import Sequence

from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["Jacobi"]


class Jacobi:
    """Fixed-point iteration of y_j ← argmax p(· | x, y_<j) over a sliding window of guesses.

    Each pass evaluates the whole window at once. The prefix on which draft and verifier agree is at its fixed
    point and final; the verifier's picks behind it, though made in a wrong context, are better guesses than
    the ones they replace and form the next draft (Jacobi decoding; arXiv 2512.14681 trains models for which
    this converges in few passes, here any causal model will do). New places at the end of the window repeat
    the last guess. The window slides with the accepted prefix instead of waiting for a whole block.

    Args:
        draft_length: guesses in the window, ≥ 1.

    Raises:
        ConfigError: a value out of range.
    """

    wants_hidden = False

    def __init__(self, *, draft_length: int = 7) -> None:
        if draft_length < 1:
            raise ConfigError(
                f"Jacobi decoding was given draft_length={draft_length}, but a draft has at least 1 token; "
                "raise it or decode with the method 'ar'."
            )
        self.draft_length = draft_length
        self._guesses: list[list[int]] = []

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Forget all guesses."""
        self._guesses = [[] for _ in prompts]

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[list[int]]:
        """See :class:`Proposer`; ``draft_length`` tokens a row, or its limit."""
        drafts = []
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            guesses = self._guesses[row]
            filler = guesses[-1] if guesses else context[-1]
            guesses.extend([filler] * (self.draft_length - len(guesses)))
            drafts.append(guesses[: min(limit, self.draft_length)])
        return drafts

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Slide the window past ``accepted`` and put the new guesses at its head."""
        del hidden
        behind = self._guesses[row][len(accepted) + len(rest) :]
        self._guesses[row] = [*rest, *behind]
