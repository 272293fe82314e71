"""Checkpoints of converted models: the published EfficientDLM layout and the plain Hugging Face one, without remote code.

Published: the tensors of a Qwen3 under names of their own (`encoder.*`, `diffusion_head.weight`), head and embedding untied,
`architectures` ["EfficientDLM"] while `model_type` says "qwen3". Nemotron-Labs-Diffusion checkpoints name their tensors alike
(Ministral3 backbone). Plain: the base's own keys and config plus a few fields, which any Hugging Face tool ignores; so the
folder also loads, and decodes one token at a time, as an ordinary model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.hf import config_integer, load_causal_lm, save_pretrained
from ar_core.hf.published import EFFICIENT_DLM, ENCODER_KEYS, older_fields, published_keys
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .config import AttentionPattern, EfficientDLMConfig

__all__ = ["PARADIGMS", "Checkpoint", "Conversion", "load_checkpoint", "save_checkpoint"]

PUBLISHED_CODE = "nvidia/Efficient-DLM-4B"
"""Where the published modelling code is; `auto_map` names it there, since our folders hold no code."""

PARADIGMS: dict[str, tuple[AttentionPattern, Literal["block", "token"]]] = {
    "block_diff": ("block_clean", "block"),
    "sbd_block_diff": ("block_clean", "token"),
    "efficient_block_diff": ("block_noisy", "block"),
    "bidirectional": ("bidirectional", "block"),
    "autoregressive": ("autoregressive", "block"),
}
"""`dlm_paradigm` of the published code: `attention_pattern` and `clean` of ours. The names mislead: `efficient_block_diff` is
the noisy-context variant, not the paper's method."""

DLM_TYPES = {"llada": False, "dream": True}
"""`dlm_type` of the published code: whether the logits at position i-1 predict token i. Where there is none: `llada`."""


@dataclass(frozen=True)
class Conversion:
    """What a converted checkpoint says about itself."""

    mask_id: int
    """Id of M."""
    diffusion_block_size: int
    """L' that it prefers for decoding; of training, unless its maker said otherwise (published 4B: 32, trained with 64)."""
    attention_pattern: AttentionPattern = "block_clean"
    """Who saw whom in training."""
    clean: Literal["block", "token"] = "block"
    """`token`: a hybrid, which may also be read one token at a time."""
    token_shift: bool = False
    """Whether the logits at position i-1 predict token i."""
    half_life_ratio: float | None = None
    """lambda of training; None: uniform, or not stated."""

    @classmethod
    def of_config(cls, config: EfficientDLMConfig, mask_id: int) -> "Conversion":
        """What a run with these hyperparameters makes."""
        return cls(
            mask_id,
            config.diffusion_block_size,
            config.attention_pattern,
            config.clean,
            config.token_shift,
            config.half_life_ratio,
        )

    @classmethod
    def of_checkpoint(cls, config: Any, source: str | Path) -> "Conversion":
        """What the transformers config of a checkpoint says.

        Raises:
            CheckpointError: the checkpoint was not converted, in a way that we do not know, names no mask token, or holds what is
                no block size, token id or type.
        """
        published = published_keys(config) is not None
        trained = getattr(config, "training_paradigm", None)
        paradigm = trained or getattr(config, "dlm_paradigm", None)
        if paradigm is None and not published:
            raise CheckpointError(
                f"the checkpoint {str(source)!r} has no dlm_paradigm in its config.json, so it was never converted: convert "
                "it with the recipe efficient_dlm, or decode it one token at a time"
            )
        if published and trained is None and paradigm in (None, "bidirectional"):
            # Published files name the mode of their prefill here; they were trained in blocks, hybrids with an AR loss.
            paradigm = "sbd_block_diff" if getattr(config, "ar_loss_weight", None) else "block_diff"
        if paradigm not in tuple(PARADIGMS):
            raise CheckpointError(
                f"the checkpoint {str(source)!r} has dlm_paradigm {paradigm!r}, which is not supported: it must be one of "
                f"{', '.join(PARADIGMS)}"
            )
        mask_id = config_integer(config, "mask_token_id", source, least=0)
        if mask_id is None:
            raise CheckpointError(
                f"the checkpoint {str(source)!r} names no mask token: add mask_token_id to its config.json (published: "
                "151662)"
            )
        block_size = config_integer(config, "block_size", source, least=1)
        kind = getattr(config, "dlm_type", None)
        if kind not in (None, *DLM_TYPES):
            raise CheckpointError(
                f"the checkpoint {str(source)!r} has dlm_type {kind!r}, which is not supported: it must be one of "
                f"{', '.join(DLM_TYPES)}"
            )
        pattern, clean = PARADIGMS[paradigm]
        return cls(
            mask_id,
            32 if block_size is None else block_size,
            pattern,
            clean,
            kind is not None and DLM_TYPES[kind],
            getattr(config, "tok_mask_half_life_ratio", None),
        )

    def fields(self) -> dict[str, Any]:
        """The same as fields of `config.json`, under the published names.

        The published code reads its mode of inference from `dlm_paradigm`; `training_paradigm` is a field of ours.
        """
        (paradigm,) = (name for name, meant in PARADIGMS.items() if meant == (self.attention_pattern, self.clean))
        return {
            "block_size": self.diffusion_block_size,
            "dlm_paradigm": paradigm,
            "dlm_type": next(name for name, shift in DLM_TYPES.items() if shift == self.token_shift),
            "mask_token_id": self.mask_id,
            "tok_mask_half_life_ratio": self.half_life_ratio,
            "training_paradigm": paradigm,
        }


@dataclass(frozen=True)
class Checkpoint:
    """A converted model, and what its decoder must know."""

    model: PreTrainedModel
    """The causal LM, in eval mode, driven through our attention."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""
    conversion: Conversion
    """What it says about itself."""


def load_checkpoint(
    source: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Load a converted model, published or plain, strictly.

    Args:
        source: folder in either layout or hub id.
        dtype: of the weights; None keeps the stored one.
        device: where the model goes.

    Raises:
        CheckpointError: as `ar_core.hf.load_causal_lm` and `Conversion.of_checkpoint`.
    """
    loaded = load_causal_lm(source, dtype=dtype, device=device)
    return Checkpoint(loaded.model, loaded.tokenizer, Conversion.of_checkpoint(loaded.model.config, source))


def save_checkpoint(
    model: nn.Module,
    directory: Path,
    conversion: Conversion,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    layout: Literal["plain", "published"] = "plain",
) -> None:
    """Save a converted model as one folder that appears only when complete.

    Args:
        model: a transformers causal LM, adapters of peft merged into a copy.
        directory: folder to write.
        conversion: how it was converted.
        tokenizer: written beside the weights.
        layout: `plain` for all our tools and any engine that knows the base; `published` for the published code, tied
            heads written as a copy.

    Raises:
        ConfigError: the published layout was asked for and the model is no Qwen3.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    if layout == "plain":
        save_pretrained(model, directory, tokenizer=tokenizer, extra_config=conversion.fields())
        return
    if base.config.model_type != "qwen3":
        raise ConfigError(
            f"the published layout exists for Qwen3 models only and this one is {base.config.model_type!r}: use layout='plain'"
        )
    save_pretrained(
        model,
        directory,
        tokenizer=tokenizer,
        extra_config={**conversion.fields(), **_published_fields(base.config)},
        key_map=ENCODER_KEYS,
    )


def _published_fields(config: Any) -> dict[str, Any]:
    return {
        "architectures": [EFFICIENT_DLM],
        "auto_map": {
            "AutoConfig": f"{PUBLISHED_CODE}--configuration_edlm.EfficientDLMConfig",
            "AutoModel": f"{PUBLISHED_CODE}--modeling_edlm.{EFFICIENT_DLM}",
        },
        "attn_implementation": "sdpa",
        "adaptive_mask_rate": False,
        "disable_qk_norm": False,
        "dlm_arch": "encoder",
        "dlm_paradigm": "bidirectional",
        "prefix_ratio": 0.8,
        "random_length_prob": 0,
        "tie_word_embeddings": False,
        "use_cache": False,
        **older_fields(config),
    }
