"""The check that every decoder makes before a model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index

from torch import Tensor

from ar_core.decoding.backbone import Backbone
from ar_core.errors import DataError

__all__ = ["check_prompts"]

SHOWN = 60
"""So many characters of what is no prompt show what it is."""


def check_prompts(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    slots: Callable[[int, int], int] | None = None,
    names: Sequence[str] | None = None,
) -> list[list[int]]:
    """The prompts as lists of integers; refuses those that the model cannot continue by `max_new_tokens`.

    Args:
        backbone: the model.
        prompts: token ids of each, as sequences or tensors.
        max_new_tokens: N.
        slots: positions that a prompt of so many tokens and so many new ones take up where that is more than their sum,
            because a block is completed.
        names: what messages call the prompts; default "Prompt 0" and so on.

    Raises:
        DataError: there is no prompt, one is no sequence of ids, is empty, holds an id outside the vocabulary, or does not fit the context
            together with the new tokens.
    """
    found = []
    for row, given in enumerate(prompts):
        name = f"Prompt {row}" if names is None else names[row]
        prompt = _ids(given, name)
        found.append(prompt)
        if not prompt:
            raise DataError(f"{name} is empty; give at least one token (a beginning-of-sequence id will do).")
        low, high = min(prompt), max(prompt)
        if low < 0 or high >= backbone.vocab_size:
            raise DataError(
                f"{name} holds the token id {low if low < 0 else high}, and the model has ids 0 to "
                f"{backbone.vocab_size - 1}; use the tokenizer that belongs to the model."
            )
        plain = len(prompt) + max_new_tokens
        needed = plain if slots is None else max(plain, slots(len(prompt), max_new_tokens))
        if needed > backbone.context_length:
            completed = " and its last block completed" if needed > plain else ""
            raise DataError(
                f"{name} has {len(prompt)} tokens; with {max_new_tokens} new ones{completed} it needs {needed} positions, "
                f"and the model's context is {backbone.context_length}; ask for fewer new tokens or shorten it."
            )
    if not found:
        raise DataError("No prompt was given; give at least one list of token ids.")
    return found


def _ids(given: object, name: str) -> list[int]:
    try:
        return [index(token) for token in (given.tolist() if isinstance(given, Tensor) else given)]  # type: ignore[attr-defined]  # what is no sequence is refused
    except TypeError as error:
        shown = " ".join(repr(given).split())[:SHOWN]
        raise DataError(
            f"{name} is {shown}, but must be a list of token ids; encode text with the tokenizer."
        ) from error
