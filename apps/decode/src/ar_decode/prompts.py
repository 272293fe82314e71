"""Prompts: from the command line, from JSONL, from Spec-Bench; and their ids through the tokenizer."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ar_core.errors import DataError
from ar_core.json_text import parse_json

__all__ = ["Prompt", "encode", "first_that_fit", "read_jsonl"]

NAMED_KEYS = 5
"""So many keys of a wrong line show what it is."""


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        id: what the output is labelled with.
        messages: a conversation as ``{"role", "content"}`` mappings, or plain text to continue.
        category: group for reports; empty if the source has none.
        where: the line that it was read from; empty if it came from no file.
    """

    id: str
    messages: str | tuple[dict[str, str], ...]
    category: str = ""
    where: str = ""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"the prompt {self.id!r}" + (f" ({self.where})" if self.where else "")

    @property
    def text(self) -> str:
        """What the user wrote: the plain text, or the last user message."""
        if isinstance(self.messages, str):
            return self.messages
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")


def read_jsonl(path: Path) -> list[Prompt]:
    """Read prompts, one JSON object a line.

    A line has one of ``"prompt"`` (text), ``"messages"`` (a list of ``{"role", "content"}``) or ``"turns"`` (a list of user
    messages, as in Spec-Bench; the first is used), and may have ``"id"`` (or ``"question_id"``) and ``"category"``. Empty
    lines are skipped; other keys are ignored, since data sets carry many, and null counts as absent under those two.

    Raises:
        DataError: the file is missing or has no prompts; a line is malformed (with its number).
    """
    if not os.path.isfile(path):
        raise DataError(
            f"the prompt file {str(path)!r} does not exist; give the path of a JSONL file with one prompt a line."
        )
    prompts = [_prompt(line, number, path) for number, line in _lines(path)]
    if not prompts:
        raise DataError(f"the prompt file {str(path)!r} holds no prompts; give a JSONL file with one object a line.")
    return prompts


def encode(tokenizer: Any, prompt: Prompt, *, chat: bool) -> list[int]:
    """Ids of a prompt.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: what to encode.
        chat: render through the tokenizer's chat template, generation prompt appended (plain text becomes one user
            message); otherwise the text, or that of the only message, is encoded as it is, with the tokenizer's own special tokens.

    Raises:
        DataError: the prompt is empty, no UTF-8 or has no user message, or the tokenizer has no chat template and one is needed.
    """
    if not isinstance(prompt.messages, str) and all(message["role"] != "user" for message in prompt.messages):
        raise DataError(f'{prompt.label} has no message of the role "user"; give it one to answer.')
    if not prompt.text.strip():
        raise DataError(f"{prompt.label} is empty; give it at least one token of text.")
    messages = prompt.messages
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    for turn in turns:
        try:
            turn["content"].encode()
        except UnicodeEncodeError as error:
            # Python reads bytes of a command line or a terminal that are no UTF-8 as half characters.
            raise DataError(
                f"{prompt.label} is no UTF-8 text (at character {error.start + 1}); give text in UTF-8."
            ) from error
    if not chat:
        if not isinstance(prompt.messages, str) and len(prompt.messages) > 1:
            raise DataError(
                f"{prompt.label} is a conversation of {len(prompt.messages)} messages, which only a chat template "
                "can render; leave out --no-chat, or give one message."
            )
        return list(tokenizer(prompt.text, verbose=False)["input_ids"])
    if not getattr(tokenizer, "chat_template", None):
        raise DataError(
            "a chat was asked for, but this model's tokenizer has no chat template; use an instruction-tuned model, or plain "
            "text without --chat (or with --no-chat)."
        )
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    # Quiet: whether a prompt fits is checked, and said, before it is decoded.
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def first_that_fit(
    prompts: Iterable[Prompt], ids: Iterable[list[int]], *, per_category: int, room: int
) -> list[tuple[Prompt, list[int]]]:
    """The first ``per_category`` prompts of every category, in file order, that have at most ``room`` tokens.

    Raises:
        DataError: none fits.
    """
    if room < 1:
        raise DataError(
            "the tokens to generate leave no room for a prompt in the model's context; lower --max-new-tokens."
        )
    taken: Counter[str] = Counter()
    chosen = []
    for prompt, one in zip(prompts, ids, strict=True):
        if len(one) <= room and taken[prompt.category] < per_category:
            taken[prompt.category] += 1
            chosen.append((prompt, one))
    if not chosen:
        raise DataError(
            f"no prompt of the file has at most {room} tokens, the room that the model's context leaves beside the generated ones; "
            "lower --max-new-tokens or give shorter prompts."
        )
    return chosen


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(
            f"the prompt file {str(path)!r} is no UTF-8 text ({error.reason}); save it as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(
            f"the prompt file {str(path)!r} cannot be read ({error.strerror}); correct the path."
        ) from error


def _prompt(line: str, number: int, path: Path) -> Prompt:
    where = f"line {number} of {str(path)!r}"
    try:
        data = parse_json(line)
    except ValueError as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise DataError(f"{where} is no JSON ({reason}); write one object a line.") from error
    given = [key for key in ("prompt", "messages", "turns") if isinstance(data, dict) and key in data]
    if len(given) != 1:
        found = f"has {_keys(data)}" if isinstance(data, dict) else f"is a JSON {type(data).__name__}"
        raise DataError(f'{where} {found}; it needs exactly one of "prompt", "messages" and "turns".')
    key = given[0]
    value = data[key]
    names = (data.get("id"), data.get("question_id"), number)
    name = next(str(name) for name in names if name is not None)
    category = "" if data.get("category") is None else str(data["category"])
    if key == "prompt" and isinstance(value, str):
        return Prompt(name, value, category, where)
    if key == "turns" and isinstance(value, list) and value and all(isinstance(turn, str) for turn in value):
        return Prompt(name, ({"role": "user", "content": value[0]},), category, where)
    if key == "messages" and isinstance(value, list) and value and all(map(_is_message, value)):
        messages = tuple({"role": m["role"], "content": m["content"]} for m in value)
        return Prompt(name, messages, category, where)
    allowed = {
        "prompt": "text",
        "turns": "a list of texts",
        "messages": 'a list of objects with the texts "role" and "content"',
    }
    raise DataError(f"{where} has {json.dumps(value)[:60]} under {key!r}; it must be {allowed[key]}.")


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def _keys(data: dict[str, Any]) -> str:
    named = ", ".join(map(repr, sorted(data)[:NAMED_KEYS]))
    more = len(data) - NAMED_KEYS
    return f"the keys {named or 'none'}" + (f" and {more} more" if more > 0 else "")
