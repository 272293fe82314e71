"""Checkpoints of converted models: the published Fast_dLLM_v2 layout and the plain Hugging Face one, without remote code.

Both hold the keys and tensors of the base architecture; only `config.json` differs. Published (Qwen2 bases alone):
`model_type` "Fast_dLLM_Qwen", `architectures`, `auto_map` and `bd_size`, with the mask token in the tokenizer. Plain: the
base's own config plus `bd_size`, `small_block_size` and `mask_token_id`, which any Hugging Face tool ignores; so the file
also loads, and decodes one token at a time, as an ordinary model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.hf import config_integer, load_causal_lm, save_pretrained
from ar_core.hf.published import (
    FAST_DLLM_MASK_TOKEN,
    Fast_dLLM_QwenConfig,
    Fast_dLLM_QwenForCausalLM,
    older_fields,
)
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import FastDLLMv2Config

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

PUBLISHED_CODE = "Efficient-Large-Model/Fast_dLLM_v2_7B"
"""Where the published modelling code is; `auto_map` names it there, since our folders hold no code."""


@dataclass(frozen=True)
class Checkpoint:
    """A converted model, and what its decoder must know."""

    model: PreTrainedModel
    """The causal LM, in eval mode, driven through our attention."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""
    diffusion_block_size: int
    """D."""
    sub_block_size: int
    """S."""
    mask_id: int
    """Id of M."""


def load_checkpoint(
    source: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Load a converted model, published or plain, strictly.

    Args:
        source: folder in Hugging Face layout or hub id.
        dtype: of the weights; None keeps the stored one.
        device: where the model goes.

    Raises:
        CheckpointError: as `ar_core.hf.load_causal_lm`; or the checkpoint is not converted, or has no mask token.
    """
    loaded = load_causal_lm(source, dtype=dtype, device=device)
    settings = decode_settings(loaded.model.config, loaded.tokenizer, source)
    return Checkpoint(model=loaded.model, tokenizer=loaded.tokenizer, **settings)


def decode_settings(config: Any, tokenizer: PreTrainedTokenizerBase | None, source: str | Path) -> dict[str, int]:
    """What a converted checkpoint says about its decoding: `diffusion_block_size`, `sub_block_size` and `mask_id`.

    Args:
        config: its transformers config.
        tokenizer: its tokenizer, which names the mask token in the published layout.
        source: what it was loaded from, for messages.

    Raises:
        CheckpointError: the checkpoint is not converted, has no mask token, or holds what is no block size or token id.
    """
    block_size = config_integer(config, "bd_size", source, least=1)
    if block_size is None:
        raise CheckpointError(
            f"the checkpoint {str(source)!r} has no bd_size in its config.json, so it was never converted to block "
            "diffusion: convert it with the recipe fast_dllm_v2, or decode it one token at a time"
        )
    mask_id = config_integer(config, "mask_token_id", source, least=0)
    if mask_id is None and tokenizer is not None:
        mask_id = tokenizer.get_vocab().get(FAST_DLLM_MASK_TOKEN)
    if mask_id is None:
        raise CheckpointError(
            f"the checkpoint {str(source)!r} names no mask token: neither mask_token_id in its config.json nor "
            f"{FAST_DLLM_MASK_TOKEN} in its tokenizer; add one of the two"
        )
    preferred = FastDLLMv2Config().sub_block_size
    fallback = preferred if block_size % preferred == 0 else block_size
    sub_block_size = config_integer(config, "small_block_size", source, least=1)
    return {
        "diffusion_block_size": block_size,
        "sub_block_size": fallback if sub_block_size is None else sub_block_size,
        "mask_id": mask_id,
    }


def save_checkpoint(
    model: nn.Module,
    directory: Path,
    *,
    diffusion_block_size: int,
    sub_block_size: int,
    mask_id: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    layout: Literal["plain", "published"] = "plain",
) -> None:
    """Save a converted model as one folder that appears only when complete.

    Args:
        model: a transformers causal LM, adapters of peft merged into a copy.
        directory: folder to write.
        diffusion_block_size: D.
        sub_block_size: S; the published layout does not store it.
        mask_id: id of M; the published layout stores it in the tokenizer only.
        tokenizer: written beside the weights.
        layout: `plain` for all our tools and any engine that knows the base; `published` for the published code.

    Raises:
        ConfigError: the published layout was asked for and the model is no Qwen2, or its tokenizer has no published mask
            token with this id.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    if layout == "published":
        fields = _published_fields(base.config, tokenizer, mask_id)
    else:
        fields = {"small_block_size": sub_block_size, "mask_token_id": mask_id}
    save_pretrained(model, directory, tokenizer=tokenizer, extra_config={"bd_size": diffusion_block_size, **fields})


def _published_fields(config: Any, tokenizer: PreTrainedTokenizerBase | None, mask_id: int) -> dict[str, Any]:
    if config.model_type not in ("qwen2", Fast_dLLM_QwenConfig.model_type):
        raise ConfigError(
            f"the published layout exists for Qwen2 models only and this one is {config.model_type!r}: use layout='plain'"
        )
    found = tokenizer.get_vocab().get(FAST_DLLM_MASK_TOKEN) if tokenizer is not None else None
    if found != mask_id:
        raise ConfigError(
            f"the published layout needs a tokenizer in which {FAST_DLLM_MASK_TOKEN} is the mask token, here id {mask_id}, but it "
            f"has {'no tokenizer' if tokenizer is None else found}: use layout='plain'"
        )
    name = Fast_dLLM_QwenForCausalLM.__name__
    return {
        "model_type": Fast_dLLM_QwenConfig.model_type,
        "architectures": [name],
        "auto_map": {
            "AutoConfig": f"{PUBLISHED_CODE}--configuration.{Fast_dLLM_QwenConfig.__name__}",
            "AutoModel": f"{PUBLISHED_CODE}--modeling.Fast_dLLM_QwenModel",
            "AutoModelForCausalLM": f"{PUBLISHED_CODE}--modeling.{name}",
        },
        **older_fields(config),
    }
