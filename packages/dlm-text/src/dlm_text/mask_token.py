"""The mask token of a run: which id it is, and that no text teaches it."""

from collections.abc import Mapping
from typing import Any

from ar_core.errors import ConfigError, DataError
from ar_core.hf import add_mask_token, find_mask_token
from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["check_never_supervised", "mask_token_id"]


def mask_token_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, *, add: bool) -> int:
    """Id of the mask token of a model that is to be trained.

    Args:
        model: changed in place if the token is added.
        tokenizer: changed in place if the token is added.
        text: the token, `method.mask_token` of a run.
        add: whether a tokenizer that lacks it gets it, with the mean of all embeddings.

    Raises:
        ConfigError: it lacks the token and `add` is false, or the text is an ordinary piece of text, or begins or ends texts.
    """
    mask_id = find_mask_token(tokenizer, text)
    if mask_id is not None:
        return mask_id
    if not add:
        raise ConfigError(
            f"the model's tokenizer has no mask token {text!r}: name the one it has in method.mask_token, "
            "or set method.add_mask_token to true"
        )
    return add_mask_token(model, tokenizer, text)


def check_never_supervised(sample: Mapping[str, Any], mask_id: int) -> None:
    """Refuse a sample that is supervised on the mask token.

    Raises:
        DataError: it is.
    """
    if (sample["labels"] == mask_id).any():
        raise DataError(
            f"sample {sample['index']} is supervised on the mask token (id {mask_id}), which must never be "
            "generated: remove it from the text or unsupervise it (label -100)"
        )
