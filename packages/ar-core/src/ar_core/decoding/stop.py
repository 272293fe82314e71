"""When a row is finished, and where its output ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from numbers import Integral

from ar_core.errors import ConfigError

__all__ = ["Finish", "StopRule", "text_before"]


@dataclass(frozen=True)
class Finish:
    """A row has ended."""

    length: int
    """How many of its tokens it keeps."""
    reason: str
    """"stop_id", "stop_string" or "length"."""


@dataclass(frozen=True)
class StopRule:
    """The one decision "this row is finished", for every decoder.

    With `keep_stop` off, an output that ends at a stop string is cut before the token in which the string begins.

    Attributes:
        stop_ids: ids that end a row wherever they stand in the generated part.
        max_new_tokens: N >= 1, exact: no row is longer, stop token included.
        stop_strings: texts that end a row; they need `decode`.
        keep_stop: keep the stop token (or the tokens that complete the stop string) in the output.
        keep_string: keep the tokens that complete a stop string, though no stop token. The one in which the string begins may
            hold text before it, which is lost with the token; `text_before` cuts to the character.
        decode: ids -> text, for stop strings.

    Raises:
        ConfigError: `max_new_tokens` is no integer or below 1, `stop_ids` holds no ids, a stop string is empty, or stop strings come without `decode`.
    """

    stop_ids: frozenset[int]
    max_new_tokens: int
    stop_strings: tuple[str, ...] = ()
    keep_stop: bool = False
    keep_string: bool = False
    decode: Callable[[list[int]], str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.stop_ids, Collection) or not all(isinstance(one, Integral) for one in self.stop_ids):
            raise ConfigError(f"stop_ids is {self.stop_ids!r}; give a set of token ids.")
        if not isinstance(self.max_new_tokens, Integral):
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens!r}; give an integer of at least 1.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1.")
        if isinstance(self.stop_strings, str) or not all(self.stop_strings):
            raise ConfigError(f"stop_strings is {self.stop_strings!r}; give a sequence of non-empty strings.")
        if self.stop_strings and self.decode is None:
            raise ConfigError("stop_strings were given without decode; give the function that turns ids into text.")

    def check(self, tokens: Sequence[int], seen: int = 0) -> Finish | None:
        """Decide whether a row with these generated tokens has ended, and where.

        Args:
            tokens: the row's final tokens in order; nothing that may still change.
            seen: how many of them an earlier call has already let pass.

        Returns:
            The earliest end among stop ids, stop strings and length, or None if the row goes on. At the same token a stop
            id goes before a stop string, and both before the length.
        """
        for i in range(seen, min(len(tokens), self.max_new_tokens)):
            if tokens[i] in self.stop_ids:
                return Finish(i + self.keep_stop, "stop_id")
            if self.stop_strings and (finish := self._string_ends_at(tokens[: i + 1])):
                return finish
        if len(tokens) >= self.max_new_tokens:
            return Finish(self.max_new_tokens, "length")
        return None

    def settled(self, tokens: Sequence[int]) -> int:
        """How many leading tokens of a row that goes on will be in its output whatever comes.

        All of them, unless the text ends with what may be the beginning of a stop string, or in the middle of a character.
        """
        if not self.stop_strings or self._keeps_string:
            return len(tokens)
        assert self.decode is not None
        text = self.decode(list(tokens)).rstrip(_HALF_CHARACTER)
        begun = max(_overlap(text, stop) for stop in self.stop_strings)
        return self._tokens_within(tokens, len(text) - begun)

    @property
    def _keeps_string(self) -> bool:
        return self.keep_stop or self.keep_string

    def _string_ends_at(self, tokens: Sequence[int]) -> Finish | None:
        assert self.decode is not None
        text = self.decode(list(tokens))
        begins = [at for stop in self.stop_strings if (at := text.find(stop)) >= 0]
        if not begins:
            return None
        length = len(tokens) if self._keeps_string else self._tokens_within(tokens, min(begins))
        return Finish(length, "stop_string")

    def _tokens_within(self, tokens: Sequence[int], characters: int) -> int:
        """Most leading tokens whose text has at most so many characters, the last of them complete."""
        assert self.decode is not None
        for count in range(len(tokens), 0, -1):
            text = self.decode(list(tokens[:count]))
            if len(text) <= characters and not text.endswith(_HALF_CHARACTER):
                return count
        return 0


def text_before(text: str, stop_strings: Sequence[str]) -> str:
    """The text up to where the first of some stop strings begins; all of it if none is there."""
    return text[: min((at for stop in stop_strings if (at := text.find(stop)) >= 0), default=len(text))]


_HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
