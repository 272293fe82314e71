"""Chats to documents, supervised on the assistant's turns only."""

import re
from typing import Any

from ..errors import DataError
from .document import Document

__all__ = ["chat_document", "render_chat"]


def chat_document(tokenizer: Any, messages: Any, place: str) -> Document:
    """Render a chat with the tokenizer's template and find the assistant's tokens.

    Supervised is what the model has to write: the text of each assistant turn and the token that closes it
    (``<|im_end|>`` in ChatML), not the header before it nor white space after it. Templates with generation
    blocks say so themselves (a closing token just behind the marked span is added to it). For the others each turn is
    found as the difference between two renderings: the chat up to the turn with the generation prompt, and the chat
    with the turn. So inference, which begins where the generation prompt ends, continues exactly what was supervised.

    Args:
        tokenizer: a fast Hugging Face tokenizer with a chat template.
        messages: list of ``{"role": ..., "content": ...}`` with text contents.
        place: where the chat came from, for messages.

    Raises:
        DataError: no chat template, not such a list, no assistant turn, a chat that the template refuses, or a template
            without generation markers that renders a turn differently once another follows it.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        raise DataError("the tokenizer has no chat template; use one that has, or data of kind prompt or text")
    _check_messages(messages, place)
    if re.search(r"\{%-?\s*generation\s*-?%\}", _template(tokenizer)):
        return _by_markers(tokenizer, messages, place)
    return _by_difference(tokenizer, messages, place)


def _template(tokenizer: Any) -> str:
    template = tokenizer.chat_template
    return template if isinstance(template, str) else tokenizer.get_chat_template()


def _check_messages(messages: Any, place: str) -> None:
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{place}: messages is {messages!r:.60}; give a list of objects with role and content")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise DataError(
                f"{place}: message {number} is {message!r:.60}; give an object with the texts role and content"
            )
    if all(message["role"] != "assistant" for message in messages):
        raise DataError(
            f"{place}: no message has the role assistant, so nothing is left to learn; add one or drop the chat"
        )


def render_chat(tokenizer: Any, messages: list[dict[str, Any]], place: str, **options: Any) -> Any:
    """``tokenizer.apply_chat_template``; what the template refuses is a DataError with the chat's place."""
    from jinja2.exceptions import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, **options)
    except TemplateError as error:
        raise DataError(
            f"{place}: the chat template refuses this chat ({error}); correct its roles or order"
        ) from error


def _by_markers(tokenizer: Any, messages: list[dict[str, Any]], place: str) -> Document:
    rendered = render_chat(
        tokenizer, messages, place, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, flags = list(rendered["input_ids"]), [bool(flag) for flag in rendered["assistant_masks"]]
    if not any(flags):
        raise DataError(
            f"{place}: the chat template marks no token of the assistant's; correct its generation block or remove it"
        )
    for index in range(1, len(ids)):
        if flags[index - 1] and not flags[index] and ids[index] == tokenizer.eos_token_id:
            flags[index] = True
    return Document.of(ids, flags)


def _by_difference(tokenizer: Any, messages: list[dict[str, Any]], place: str) -> Document:
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(
            "a chat template without generation blocks needs a fast tokenizer, which tells where tokens begin"
        )
    text = render_chat(tokenizer, messages, place, tokenize=False)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render_chat(tokenizer, messages[:index], place, tokenize=False, add_generation_prompt=True)
        after = render_chat(tokenizer, messages[: index + 1], place, tokenize=False)
        if not after.startswith(before) or not text.startswith(after):
            raise DataError(
                f"{place}: the chat template cannot be split at message {index + 1}, because it renders the "
                f"messages before a turn differently once the turn is there; add generation blocks to the template"
            )
        spans.append((len(before), len(before) + _written(tokenizer, after[len(before) :])))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    flags = [any(begin <= start < end for begin, end in spans) for start, _ in encoded["offset_mapping"]]
    return Document.of(list(encoded["input_ids"]), flags)


def _written(tokenizer: Any, turn: str) -> int:
    """Length of a rendered turn without the white space behind its closing special token."""
    written = turn.rstrip()
    closed = any(written.endswith(token) for token in tokenizer.all_special_tokens)
    return len(written) if closed else len(turn)
