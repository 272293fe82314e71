"""The check that every decoder makes before a model runs."""

from __future__ import annotations

from collections.abc import Sequence

from ar_core.decoding.backbone import Backbone
from ar_core.errors import DataError

__all__ = ["check_prompts"]


def check_prompts(backbone: Backbone, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Refuse prompts that the model cannot continue by `max_new_tokens`.

    Raises:
        DataError: there is no prompt, one is empty, holds an id outside the vocabulary, or does not fit the context
            together with the new tokens.
    """
    if not prompts:
        raise DataError("No prompt was given; give at least one list of token ids.")
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise DataError(f"Prompt {row} is empty; give at least one token (a beginning-of-sequence id will do).")
        low, high = min(prompt), max(prompt)
        if low < 0 or high >= backbone.vocab_size:
            raise DataError(
                f"Prompt {row} holds token id {low if low < 0 else high}, and the model has ids 0 to "
                f"{backbone.vocab_size - 1}; use the tokenizer that belongs to the model."
            )
        if len(prompt) + max_new_tokens > backbone.context_length:
            room = backbone.context_length - len(prompt)
            remedy = f"ask for at most {room} new tokens or shorten it" if room > 0 else "shorten it"
            raise DataError(
                f"Prompt {row} has {len(prompt)} tokens and {max_new_tokens} new ones were asked for, but the model's "
                f"context is {backbone.context_length}; {remedy}."
            )
