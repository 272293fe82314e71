"""Prompt lookup: what followed the last occurrence of the current suffix is the draft.

Source: prompt lookup decoding (Saxena, 2023).
"""

from collections.abc import Sequence

from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["NgramLookup"]

_BOUNDARY = -1
"""Ends a sequence of the session history: no token, so no match and no copy crosses it."""


class _Index:
    """Positions behind every n-gram of one growing sequence, the latest occurrence winning."""

    def __init__(self, max_ngram: int) -> None:
        self._ends: list[dict[tuple[int, ...], int]] = [{} for _ in range(max_ngram)]
        self._indexed = 0

    def extend(self, ids: Sequence[int]) -> None:
        """Index every n-gram that has a token behind it; ``ids`` must continue what was indexed before."""
        for end in range(max(self._indexed, 1), len(ids)):
            if ids[end] == _BOUNDARY:
                continue
            for n, ends in enumerate(self._ends[:end], start=1):
                ends[tuple(ids[end - n : end])] = end
        self._indexed = max(self._indexed, len(ids))

    def find(self, suffix: Sequence[int], n: int) -> int | None:
        """The position behind the latest indexed occurrence of the last ``n`` ids of ``suffix``."""
        return self._ends[n - 1].get(tuple(suffix[len(suffix) - n :]))


class NgramLookup:
    """Draft by copying: find the longest suffix of the context that occurred before, propose what came next.

    Prompt lookup decoding: no model, no training. Pays where the output repeats its input or itself (summaries, code
    edits, retrieval, dialogue) and otherwise proposes little. The longest match wins, then the row's own context over
    the session, then the latest occurrence. A copy that reaches the end of its source continues with what it has just
    copied, so that a loop of any period is drafted in full.

    Args:
        max_ngram: longest suffix looked up, ≥ 1.
        min_ngram: shortest suffix looked up, in [1, max_ngram].
        draft_length: longest draft, ≥ 1.
        session_history: also search the prompts and outputs of earlier calls with this object. Rows of the running
            call never see each other, so counters do not depend on batch mates.

    Raises:
        ConfigError: a value out of range.
    """

    wants_hidden = False

    def __init__(
        self,
        *,
        max_ngram: int = 3,
        min_ngram: int = 1,
        draft_length: int = 7,
        session_history: bool = True,
    ) -> None:
        if not 1 <= min_ngram <= max_ngram:
            raise ConfigError(
                f"n-gram lookup was given min_ngram={min_ngram} and max_ngram={max_ngram}, but 1 ≤ min_ngram ≤ "
                "max_ngram is needed; change one of them."
            )
        if draft_length < 1:
            raise ConfigError(
                f"n-gram lookup was given draft_length={draft_length}, but a draft has at least 1 token; raise "
                "it or decode with the method 'ar'."
            )
        self.max_ngram = max_ngram
        self.min_ngram = min_ngram
        self.draft_length = draft_length
        self.session_history = session_history
        self._rows: list[list[int]] = []
        self._indices: list[_Index] = []
        self._past: list[int] = []
        self._past_index = _Index(max_ngram)

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Move the rows of the last call to the session history and index the new prompts."""
        if self.session_history:
            for ids in self._rows:
                self._past.extend((*ids, _BOUNDARY))
            self._past_index.extend(self._past)
        self._rows = [list(prompt) for prompt in prompts]
        self._indices = [_Index(self.max_ngram) for _ in prompts]

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[list[int]]:
        """See :class:`Proposer`; at most ``draft_length`` tokens a row."""
        drafts = []
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            self._indices[row].extend(context)
            drafts.append(self._draft(row, context, min(limit, self.draft_length)))
        return drafts

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Remember the row for the session; the guesses behind it are not used.

        See :meth:`ar_core.verification.proposer.Proposer.observe`.
        """
        del rest, hidden
        self._rows[row].extend(accepted)

    def _draft(self, row: int, context: Sequence[int], limit: int) -> list[int]:
        for n in range(min(self.max_ngram, len(context)), self.min_ngram - 1, -1):
            start = self._indices[row].find(context, n)
            if start is not None:
                return _copy(context, start, limit)
            start = self._past_index.find(context, n)
            if start is not None:
                draft = self._past[start : start + limit]
                return draft[: draft.index(_BOUNDARY)] if _BOUNDARY in draft else draft
        return []


def _copy(source: Sequence[int], start: int, count: int) -> list[int]:
    """``count`` ids from ``start`` on, running into the copy itself at the end of the source."""
    copied: list[int] = []
    for position in range(start, start + count):
        copied.append(source[position] if position < len(source) else copied[position - len(source)])
    return copied
