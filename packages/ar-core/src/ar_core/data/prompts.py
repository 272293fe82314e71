"""Records to prompts alone: what a model is given to continue."""

from collections.abc import Callable
from typing import Any

from ..errors import DataError
from .chat import render_chat
from .config import RECORD_FIELDS, TextDataConfig
from .encode import begin_ids, record_field, record_text
from .records import Record

__all__ = ["prompt_encoder"]


def prompt_encoder(config: TextDataConfig, tokenizer: Any) -> Callable[[Record], list[int]]:
    """Return the function that tokenises the prompt of a record of ``config.kind``.

    The ids are those that the same record begins with in training. Chats are rendered up to their last turn that is not
    the assistant's, generation prompt appended; plain text is its own prompt, to be cut by the caller. Completions need not be
    there. The function raises :class:`~ar_core.errors.DataError`, with the record's place, where a field is missing, is
    not text, or is empty.

    Raises:
        ConfigError: a BOS token is asked for that the tokenizer lacks.
    """
    kind = "prompt" if config.kind == "task" else config.kind
    names = {name: config.fields.get(name, name) for name in RECORD_FIELDS[kind]}
    if kind == "chat":
        return lambda record: _turns(tokenizer, record_field(record, names["messages"]), record.place)
    field = names["text" if kind == "text" else "prompt"]
    if config.chat_template:

        def asked(record: Record) -> list[int]:
            message = {"role": "user", "content": record_text(record, field).rstrip("\n")}
            return _turns(tokenizer, [message], record.place)

        return asked
    begin = begin_ids(config, tokenizer)

    def plain(record: Record) -> list[int]:
        ids = tokenizer(record_text(record, field), add_special_tokens=False, verbose=False)["input_ids"]
        return [*begin, *ids]

    return plain


def _turns(tokenizer: Any, messages: Any, place: str) -> list[int]:
    if getattr(tokenizer, "chat_template", None) is None:
        raise DataError("the tokenizer has no chat template; use one that has, or data of kind prompt or text")
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        raise DataError(f"{place}: messages is {messages!r:.60}; give a list of objects with role and content")
    asked = list(messages)
    while asked and asked[-1].get("role") == "assistant":
        asked.pop()
    if not asked:
        raise DataError(f"{place}: no message comes before the assistant's, so there is no prompt; add one")
    text = render_chat(tokenizer, asked, place, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
