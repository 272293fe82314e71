"""Text that is shown while it is generated."""

from collections.abc import Callable
from typing import TextIO

__all__ = ["StreamedText"]


class StreamedText:
    """Writes the text of a growing output as far as it cannot change any more; an :data:`ar_core.decoding.OnToken` of one row.

    Ids are decoded together, since the text of a token may depend on its neighbours; a character of which bytes are
    missing waits for them.

    Args:
        text: ids -> text.
        to: where it is written.
    """

    def __init__(self, text: Callable[[list[int]], str], to: TextIO) -> None:
        self._text, self._to = text, to
        self._ids: list[int] = []
        self._shown = 0

    def __call__(self, row: int, tokens: list[int]) -> None:
        """Take newly final tokens."""
        del row
        self._ids.extend(tokens)
        self._show(self._text(self._ids).rstrip("\ufffd"))

    def finish(self) -> None:
        """Write what waited for bytes that did not come."""
        self._show(self._text(self._ids))

    def _show(self, text: str) -> None:
        if len(text) > self._shown:
            self._to.write(text[self._shown :])
            self._to.flush()
            self._shown = len(text)
