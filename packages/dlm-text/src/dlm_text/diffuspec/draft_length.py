"""How many tokens the next draft has."""

from typing import Protocol

__all__ = ["DraftLength", "FixedLength"]


class DraftLength(Protocol):
    """Chooses k for every round of every row; rows never influence each other."""

    def begin(self, rows: int) -> None:
        """Start a batch: nothing carries over between requests."""

    def next(self, row: int, context: int) -> int:
        """k of the next round of a row with so many committed tokens; 0: no draft."""

    def update(self, row: int, *, generated: int, judged: int, accepted: int) -> None:
        """Learn what a draft was worth.

        Args:
            row: index of the row.
            generated: L^gen, tokens of the raw draft before its first stop id.
            judged: draft tokens that the verifier looked at.
            accepted: L^acc, those it kept, its own token not counted.
        """


class FixedLength:
    """The same k in every round.

    Args:
        length: k.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def begin(self, rows: int) -> None:
        """See :class:`DraftLength`."""

    def next(self, row: int, context: int) -> int:
        """See :class:`DraftLength`."""
        return self._length

    def update(self, row: int, *, generated: int, judged: int, accepted: int) -> None:
        """See :class:`DraftLength`."""
