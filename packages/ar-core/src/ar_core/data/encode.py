"""Records to documents, for every kind of data."""

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, DataError
from .chat import chat_document
from .config import RECORD_FIELDS, TextDataConfig
from .document import Document
from .records import Record

__all__ = ["begin_ids", "encoder", "record_field", "record_text"]


def encoder(config: TextDataConfig, tokenizer: Any) -> Callable[[Record], Document]:
    """Return the function that tokenises records of ``config.kind``.

    The function raises :class:`~ar_core.errors.DataError`, with the record's place, where a field is missing, is not
    text, or is empty.

    Raises:
        ConfigError: a BOS or EOS token is asked for that the tokenizer lacks.
    """
    kind = "prompt" if config.kind == "task" else config.kind
    names = {name: config.fields.get(name, name) for name in RECORD_FIELDS[kind]}
    if kind == "chat":
        return lambda record: chat_document(tokenizer, record_field(record, names["messages"]), record.place)
    if config.chat_template:

        def turns(record: Record) -> Document:
            prompt, completion = (record_text(record, names[name]) for name in ("prompt", "completion"))
            # Templates bring their own line ends, and a prompt that ends in one would then end in two.
            messages = [
                {"role": "user", "content": prompt.rstrip("\n")},
                {"role": "assistant", "content": completion},
            ]
            return chat_document(tokenizer, messages, record.place)

        return turns
    begin = begin_ids(config, tokenizer)
    end = _end(config, tokenizer)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def plain(record: Record) -> Document:
        return Document.of([*begin, *ids(record_text(record, names["text"])), *end], True)

    def completed(record: Record) -> Document:
        prompt = [*begin, *ids(record_text(record, names["prompt"]))]
        completion = [*ids(record_text(record, names["completion"])), *end]
        return Document.of(prompt + completion, [False] * len(prompt) + [True] * len(completion))

    return plain if kind == "text" else completed


def begin_ids(config: TextDataConfig, tokenizer: Any) -> list[int]:
    """The ids that a document begins with: BOS or none."""
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is None:
        if config.prepend_bos:
            raise ConfigError("prepend_bos is true, but the tokenizer has no BOS token; set it to null or false")
        return []
    if config.prepend_bos is None:
        wanted = config.kind == "task" or tokenizer("a")["input_ids"][:1] == [bos]
        return [bos] if wanted else []
    return [bos] if config.prepend_bos else []


def _end(config: TextDataConfig, tokenizer: Any) -> list[int]:
    if not config.append_eos:
        return []
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise ConfigError("append_eos is true, but the tokenizer has no EOS token; set it to false")
    return [tokenizer.eos_token_id]


def record_field(record: Record, name: str) -> Any:
    """A field of a record; DataError names what is there instead."""
    if name not in record.data:
        have = ", ".join(map(str, record.data)) or "none"
        raise DataError(f"{record.place}: the field {name!r} is missing (there are: {have}); name it in `fields`")
    return record.data[name]


def record_text(record: Record, name: str) -> str:
    """A field of a record that must be text and not empty."""
    value = record_field(record, name)
    if not isinstance(value, str) or not value:
        raise DataError(f"{record.place}: the field {name!r} is {value!r:.60}; give a text that is not empty")
    return value
