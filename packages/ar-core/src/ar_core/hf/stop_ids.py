"""Which tokens end an output."""

from collections.abc import Iterable
from typing import Any

from torch import nn

__all__ = ["special_stop_ids", "stop_ids"]


def stop_ids(model: nn.Module, tokenizer: Any) -> frozenset[int]:
    """The end-of-sequence tokens of the generation config and of the tokenizer; chat models have several."""
    generation = getattr(model, "generation_config", None)
    ends = [tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)]
    flat = [end for group in ends for end in (group if isinstance(group, list) else [group])]
    return frozenset(end for end in flat if end is not None)


def special_stop_ids(tokenizer: Any, texts: Iterable[str]) -> frozenset[int]:
    """Ids of those stop strings that are each one special token, which decoded text leaves out, so that no search in it finds them."""
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(special[text] for text in texts if text in special)
