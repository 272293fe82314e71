"""From the model section of a run to a vision-language model and its tokenizer."""

from collections.abc import Collection

import torch
from ar_core.errors import ConfigError
from ar_core.hf import add_mask_token, build_model, cast_weights, find_mask_token, stop_ids, use_backend
from ar_core.hf.build import enable_checkpointing
from transformers import PreTrainedTokenizerBase

from .assembled import AssembledVL
from .chat.byte_tokenizer import byte_tokenizer
from .layouts.load import load_vision_language
from .layouts.stage1 import load_connector
from .model import VisionLanguageModel
from .model_config import VisionLanguageConfig
from .qwen_vl import QwenVL
from .towers import build_tower

__all__ = ["build_vision_language", "mask_row"]


def build_vision_language(
    config: VisionLanguageConfig, *, seed: int = 0
) -> tuple[VisionLanguageModel, PreTrainedTokenizerBase]:
    """Load the model of a run, or put it together, in train mode with its frozen parts frozen.

    A language model made anew (`model.language.scratch`) gets the tokenizer of bytes. On route 2 the dtype of the language model is
    also that of a frozen tower; a trained tower, the connector and the newline vector are in float32.

    Args:
        config: the model section.
        seed: of fresh weights and adapters.

    Raises:
        ConfigError: there is no tokenizer, or adapters were asked for where they are not taken.
        ArError: as loading does.
    """
    model: VisionLanguageModel
    if config.path is not None:
        loaded = load_vision_language(config.path, dtype=getattr(torch, config.dtype))
        model, tokenizer = loaded.model, loaded.tokenizer
        use_backend(model.base_language, config.attn_backend)
        if config.gradient_checkpointing:
            enable_checkpointing(model.base_language)
        if config.lora is not None:
            if not isinstance(model, QwenVL):
                raise ConfigError(
                    f"model.lora is given and {config.path!r} is a model put together: give its parts as model.language (with lora) and "
                    "model.tower"
                )
            model.adapt(config.lora, seed)
            if {"tower", "connector"} & set(config.trained):
                # As the adapters: steps of the optimiser are below the resolution of half precision.
                cast_weights(model.tower, torch.float32)
    else:
        assert config.language is not None
        assert config.tower is not None
        fresh = byte_tokenizer() if config.language.scratch is not None else None
        language = build_model(config.language, seed=seed, tokenizer=fresh)
        tokenizer = language.tokenizer
        tower = build_tower(config.tower, seed=seed)
        model = AssembledVL(language.model, tower, config.connector, seed=seed)
        # What is trained beside the language model stays in float32: steps of the optimiser are below the resolution of half
        # precision.
        cast_weights(tower, torch.float32 if "tower" in config.trained else getattr(torch, config.language.dtype))
        if config.connector.stage1 is not None:
            load_connector(model, config.connector.stage1)
    if tokenizer is None:
        raise ConfigError(
            "the model comes without a tokenizer, which conversations need: add tokenizer.json to its folder"
        )
    model.train()
    model.train_only(config.trained)
    return model, tokenizer


def mask_row(
    model: VisionLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    mask_id: int | None,
    mask_token: str | None,
    reserved: Collection[int] = (),
) -> int:
    """Id of M in a model that is to be trained: an unused row of its embeddings, or a token, added where it is not there.

    Args:
        model: changed in place if a token is added.
        tokenizer: likewise.
        mask_id: the row; None where a token is given.
        mask_token: the token.
        reserved: ids that the form of conversations has a use for.

    Raises:
        ConfigError: the row does not exist or a token of the tokenizer has it, or the token is an ordinary piece of text or in use.
    """
    if mask_token is not None:
        found = find_mask_token(tokenizer, mask_token)
        if found is not None and found in {*reserved, *stop_ids(model.base_language, tokenizer)}:
            raise ConfigError(
                f"method.mask_token is {mask_token!r}, which stands in conversations or ends them: name another special token, or a text "
                "that the tokenizer does not have"
            )
        return add_mask_token(model.language, tokenizer, mask_token) if found is None else found
    assert mask_id is not None
    rows = model.base_language.get_input_embeddings().num_embeddings
    used = {number: token for token, number in tokenizer.get_vocab().items()}
    if mask_id >= rows or mask_id in used:
        why = (
            f"the model embeds only {rows} tokens" if mask_id >= rows else f"the tokenizer has {used[mask_id]!r} there"
        )
        raise ConfigError(
            f"method.mask_id is {mask_id}, and {why}: give the id of an unused row, or set mask_id to null and name a method.mask_token"
        )
    return mask_id
