"""The mask token of a model that never had one."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ar_core.errors import ConfigError

__all__ = ["add_mask_token", "find_mask_token"]


def find_mask_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """Id of the mask token; None where the tokenizer lacks it.

    Raises:
        ConfigError: the text is in the vocabulary but is an ordinary piece of text rather than a token of its own: it does not encode
            to that one id, or was not added to the pieces of text; or the tokenizer puts it into texts itself.
    """
    mask_id = tokenizer.get_vocab().get(text)
    if mask_id is None:
        return None
    encoded = tokenizer.encode(text, add_special_tokens=False)
    if encoded != [mask_id]:
        raise ConfigError(
            f"mask_token {text!r} encodes to {encoded} rather than to its one id {mask_id}: name a special token of the "
            "tokenizer, or a text that it does not have"
        )
    # Those of fill-in-the-middle, of which published masks are, are added and not special.
    if mask_id not in tokenizer.added_tokens_decoder:
        raise ConfigError(
            f"mask_token {text!r} is an ordinary piece of text (id {mask_id}): name a special token of the tokenizer, or a text that it "
            "does not have"
        )
    for role in ("bos_token", "eos_token", "unk_token"):
        if getattr(tokenizer, role) == text:
            raise ConfigError(
                f"mask_token {text!r} is the tokenizer's {role}, which stands in texts: name another special token, or a text that the "
                "tokenizer does not have"
            )
    return mask_id


def add_mask_token(model: nn.Module, tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Add the mask token to the tokenizer and give it the mean of all embeddings, in the model's place for it.

    Rows beyond the tokenizer's size (padding of the embedding matrix, often near 0) are used before the matrix grows,
    and do not count in the mean. An untied output head gets the mean of its rows as well; decoders never emit the token.

    Args:
        model: a transformers causal LM, or a peft model around one; changed in place.
        tokenizer: changed in place.
        text: the token.

    Returns:
        Its id.

    Raises:
        ConfigError: it is a word or has a space, so that texts may hold it.
    """
    if text[:1].isalnum() or text[-1:].isalnum() or len(text.split()) != 1:
        raise ConfigError(
            f"mask_token {text!r} would be taken for a mask wherever a text holds it: name one in brackets, such as <mask>"
        )
    base: Any = getattr(model, "get_base_model", lambda: model)()
    num_tokens = len(tokenizer)
    tokenizer.add_tokens([text], special_tokens=True)
    mask_id = tokenizer.get_vocab()[text]
    if mask_id >= base.get_input_embeddings().num_embeddings:
        # Growing draws fresh rows from the global generator before they are overwritten here.
        with torch.random.fork_rng():
            base.resize_token_embeddings(mask_id + 1, mean_resizing=False)
    embedding, head = base.get_input_embeddings().weight, base.get_output_embeddings().weight
    with torch.no_grad():
        for weight in [embedding] if head is embedding else [embedding, head]:
            weight[mask_id] = weight[:num_tokens].double().mean(0)
    return mask_id
