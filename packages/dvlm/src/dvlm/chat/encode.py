"""Turns to token ids and labels, and prompts for decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ar_core.data import IGNORED
from ar_core.errors import ConfigError

from .config import ChatConfig
from .conversation import MARKER, Turn

__all__ = ["IMAGE", "ChatEncoder", "Encoded"]

IMAGE = -200
"""Stands for an image among token ids, as in the published code; negative, so that no tokenizer has it."""

START, END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"


@dataclass(frozen=True)
class Encoded:
    """Ids of a conversation, :data:`IMAGE` once for each image."""

    ids: list[int]
    """L ids."""
    labels: list[int]
    """The id itself where it is supervised, -100 elsewhere; not shifted."""


class ChatEncoder:
    """Encodes conversations with a tokenizer.

    Headers, contents and ends of an assistant's turns are encoded apart, so that decoding, which begins behind the header,
    continues what was supervised; the published code encodes a turn as a whole, which differs only where a content begins with a
    line break.

    Args:
        tokenizer: a Hugging Face tokenizer.
        config: the form of turns.

    Raises:
        ConfigError: the tokenizer lacks the tokens of the form.
    """

    def __init__(self, tokenizer: Any, config: ChatConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        needed = [START, END] if config.form == "chatml" else []
        needed += [VISION_START, VISION_END] if config.vision_markers else []
        for token in needed:
            if self._encode(token) != [tokenizer.get_vocab().get(token)]:
                raise ConfigError(
                    f"the tokenizer has no token {token}, which conversations of this form need: set chat.form to plain and "
                    "chat.vision_markers to false, or give a tokenizer that has it"
                )
        end = tokenizer.get_vocab()[END] if config.form == "chatml" else tokenizer.eos_token_id
        if end is None:
            raise ConfigError(
                "the tokenizer has no end-of-text token, which plain conversations need: give it an eos_token"
            )
        self.eos_id: int = end
        """Ends an answer, and fills its last block."""
        line_break = self._encode("\n")
        framing = [end, *(line_break if len(line_break) == 1 else [])]
        self._framing = {*framing, *([tokenizer.get_vocab()[START]] if config.form == "chatml" else [])}
        self.reserved: frozenset[int] = frozenset(tokenizer.get_vocab()[token] for token in needed)
        """Tokens of the form, which stand in every conversation."""

    def conversation(self, turns: Sequence[Turn], *, supervise_template: bool) -> Encoded:
        """Encode a whole conversation.

        Args:
            turns: its turns.
            supervise_template: also supervise headers and last line breaks of the assistant's turns, and every line break, turn
                start and turn end of the others (published code); else the answers and their ends alone.
        """
        ids, labels = self._system(supervise_template)
        for turn in turns:
            if turn.role == "user":
                found = self._user(turn)
                ids += found
                labels += self._framing_labels(found, supervise_template)
                continue
            header, answer, tail = self._assistant(turn)
            ids += header + answer + tail
            labels += header + answer + tail if supervise_template else [
                *[IGNORED] * len(header), *answer, *[IGNORED] * len(tail)
            ]  # fmt: skip
        return Encoded(ids, [label if label != IMAGE else IGNORED for label in labels])

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Encode what stands before an answer: the turns, and the header of the assistant's next one."""
        ids, _ = self._system(False)
        for turn in turns:
            for part in (self._user(turn),) if turn.role == "user" else self._assistant(turn):
                ids += part
        return ids + (self._encode(f"{START}assistant\n") if self.config.form == "chatml" else [])

    def _system(self, supervise_template: bool) -> tuple[list[int], list[int]]:
        if self.config.form == "plain":
            begin = [self.tokenizer.bos_token_id] if self.tokenizer.bos_token_id is not None else []
            return begin, [IGNORED] * len(begin)
        if self.config.system is None:
            return [], []
        ids = self._encode(f"{START}system\n{self.config.system}{END}\n")
        return ids, self._framing_labels(ids, supervise_template)

    def _user(self, turn: Turn) -> list[int]:
        if self.config.form == "plain":
            return self._with_images(f"{turn.text}\n")
        return self._with_images(f"{START}user\n{turn.text}{END}\n")

    def _assistant(self, turn: Turn) -> tuple[list[int], list[int], list[int]]:
        """Header, answer with its end, and what is behind it."""
        if self.config.form == "plain":
            return [], [*self._with_images(turn.text), self.eos_id], []
        answer = [*self._with_images(turn.text), self.eos_id]
        return self._encode(f"{START}assistant\n"), answer, self._encode("\n")

    def _with_images(self, text: str) -> list[int]:
        image = [IMAGE]
        if self.config.vision_markers:
            image = [*self._encode(VISION_START), IMAGE, *self._encode(VISION_END)]
        first, *rest = text.split(MARKER)
        ids = self._encode(first)
        for piece in rest:
            ids += image + self._encode(piece)
        return ids

    def _framing_labels(self, ids: list[int], supervise: bool) -> list[int]:
        return [token if supervise and token in self._framing else IGNORED for token in ids]

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []
