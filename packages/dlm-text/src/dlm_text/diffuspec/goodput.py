"""A draft length that pays: tokens per second, expected from acceptance so far and measured latencies."""

from collections.abc import Callable

__all__ = ["Goodput"]

_PRIOR_ACCEPTED, _PRIOR_REJECTED = 4.0, 1.0
_MEMORY = 0.9
_PROBE_EVERY = 16


class Goodput:
    """Chooses the k, 0 included, with the largest (1 + E[accepted | k]) / (t_draft(k) + t_verify(k)).

    E[accepted | k] = Σ_{i ≤ k} Π_{j ≤ i} a_j, where a_j is the share of drafts judged at position j and right there, among
    those right before it; it forgets a tenth per round and starts, optimistically, at 4 right to 1 wrong. The shortest of
    equals wins. A choice of 0 is plain decoding; so that a drafter that has become useful is noticed, every 16th such round
    drafts `minimum` tokens all the same.

    A function of the tokens and the given times alone, never of a clock: runs are reproducible.

    Args:
        minimum: k_min ≥ 1, shortest draft other than none.
        maximum: k_max.
        draft_seconds: time of a draft of k tokens behind so many committed ones, `(context, k)`.
        verify_seconds: time of a verifying pass over the newest token and k draft tokens, `(k,)`; of k = 0: a plain pass.
    """

    def __init__(
        self,
        *,
        minimum: int,
        maximum: int,
        draft_seconds: Callable[[int, int], float],
        verify_seconds: Callable[[int], float],
    ) -> None:
        self._minimum, self._maximum = minimum, maximum
        self._draft_seconds, self._verify_seconds = draft_seconds, verify_seconds
        self._right: list[list[float]] = []
        self._wrong: list[list[float]] = []
        self._without: list[int] = []

    def begin(self, rows: int) -> None:
        """See :class:`DraftLength`."""
        self._right = [[_PRIOR_ACCEPTED] * self._maximum for _ in range(rows)]
        self._wrong = [[_PRIOR_REJECTED] * self._maximum for _ in range(rows)]
        self._without = [0] * rows

    def next(self, row: int, context: int) -> int:
        """See :class:`DraftLength`."""
        best, rate = 0, 1.0 / self._verify_seconds(0)
        expected, reached = 0.0, 1.0
        for k in range(1, self._maximum + 1):
            right, wrong = self._right[row][k - 1], self._wrong[row][k - 1]
            reached *= right / (right + wrong)
            expected += reached
            if k < self._minimum:
                continue
            found = (1 + expected) / (self._draft_seconds(context, k) + self._verify_seconds(k))
            if found > rate:
                best, rate = k, found
        if best:
            self._without[row] = 0
            return best
        self._without[row] += 1
        return self._minimum if self._without[row] % _PROBE_EVERY == 0 else 0

    def update(self, row: int, *, generated: int, judged: int, accepted: int) -> None:
        """See :class:`DraftLength`."""
        right, wrong = self._right[row], self._wrong[row]
        for position in range(min(judged, accepted + 1)):
            right[position] = _MEMORY * right[position] + (position < accepted)
            wrong[position] = _MEMORY * wrong[position] + (position >= accepted)
