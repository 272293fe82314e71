"""Hands a row's tokens to a callback as soon as nothing can take them back."""

from __future__ import annotations

from collections.abc import Sequence

from ar_core.decoding.decoded import OnToken
from ar_core.decoding.stop import StopRule

__all__ = ["TokenStream"]


class TokenStream:
    """Calls `on_token(row, tokens)` so that the tokens of all calls together are exactly the row's output.

    Tokens that may turn out to be the beginning of a stop string are held back until that is decided.

    Args:
        row: number handed to the callback.
        on_token: the callback, or None to do nothing.
        stop: the rule that ends the row.
    """

    def __init__(self, row: int, on_token: OnToken | None, stop: StopRule) -> None:
        self._row, self._on_token, self._stop = row, on_token, stop
        self._sent = 0

    def advance(self, tokens: Sequence[int], *, finished: bool) -> None:
        """Hand over what is new.

        Args:
            tokens: the row's generated tokens so far; cut at its end if `finished`.
            finished: whether the row has ended.
        """
        if self._on_token is None:
            return
        safe = len(tokens) if finished else self._stop.settled(tokens)
        if safe > self._sent:
            self._on_token(self._row, list(tokens[self._sent : safe]))
            self._sent = safe
