"""Which tokens end an output."""

from typing import Any

from torch import nn

__all__ = ["stop_ids"]


def stop_ids(model: nn.Module, tokenizer: Any) -> frozenset[int]:
    """The end-of-sequence tokens of the generation config and of the tokenizer; chat models have several."""
    generation = getattr(model, "generation_config", None)
    ends = [tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)]
    flat = [end for group in ends for end in (group if isinstance(group, list) else [group])]
    return frozenset(end for end in flat if end is not None)
