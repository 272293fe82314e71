"""Drafter checkpoints of every layout, loaded strictly and without remote code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from ar_core.config import expand_path
from ar_core.errors import CheckpointError, ConfigError
from ar_core.hf import HFBackbone, build_backbone, config_integer, load_causal_lm, load_tokenizer
from ar_core.hf.published import published_keys
from ar_core.json_text import read_json
from transformers import PreTrainedTokenizerBase

from dlm_text.efficient_dlm.checkpoint import Conversion
from dlm_text.fast_dllm_v2.checkpoint import decode_settings

from .dream import DreamConfig, register_dream
from .layout import DraftLayout
from .llada import load_llada

__all__ = ["DrafterCheckpoint", "LayoutName", "load_drafter"]

LayoutName: TypeAlias = Literal["auto", "dream", "llada", "fast_dllm_v2", "efficient_dlm"]
"""Layouts that a drafter is read from; `auto` finds out which it is."""

_FULL: dict[str, bool] = {"dream": True, "llada": False}
"""Layouts with full attention, and whether their logits are shifted."""


@dataclass(frozen=True, eq=False)
class DrafterCheckpoint:
    """A drafter as it was loaded."""

    backbone: HFBackbone
    """The model."""
    layout: DraftLayout
    """How it reads and predicts."""
    tokenizer: PreTrainedTokenizerBase | None
    """Its tokenizer, if it came with one."""


def load_drafter(
    source: str,
    layout: LayoutName = "auto",
    *,
    block_size: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    engine: str = "plain",
) -> DrafterCheckpoint:
    """Load a diffusion model to draft with.

    The mask token is the config's `mask_token_id` (of Dream the generation config has none), or the one that published
    Fast-dLLM v2 checkpoints have in their tokenizer. An Efficient-DLM drafter reads as it was trained to: its config tells
    the attention pattern, whether it is a hybrid and whether its logits are shifted.

    Args:
        source: a folder; or a hub id or GGUF file, but for LLaDA.
        layout: `auto` reads it from the config: `model_type` "Dream" or "llada", a `bd_size` (Fast-dLLM v2), or a
            `dlm_paradigm` (Efficient-DLM).
        block_size: D of block-causal layouts; None takes the config's.
        dtype: of the weights; None keeps the stored one.
        device: where the model goes.
        engine: how its passes run; see :func:`ar_core.hf.build_backbone`.

    Raises:
        ConfigError: the layout cannot be told, a block size is not used, or the model was never trained to denoise.
        CheckpointError, UnsupportedModelError: as the loaders; or there is no mask token, or no sign of a conversion.
    """
    register_dream()
    folder = expand_path(source)
    kind = _model_type(folder)
    if layout == "llada" or (layout == "auto" and kind == "llada"):
        backbone = build_backbone(load_llada(folder, dtype=dtype, device=device), engine)
        tokenizer = load_tokenizer(folder) if (folder / "tokenizer.json").is_file() else None
        layout = "llada"
    else:
        loaded = load_causal_lm(source, dtype=dtype, device=device)
        backbone, tokenizer = build_backbone(loaded.model, engine), loaded.tokenizer
    config = backbone.config
    if layout == "auto":
        layout = _told(config, source)
    if layout in _FULL:
        return DrafterCheckpoint(
            backbone, _unblocked(_mask_id(config, source), _FULL[layout], layout, block_size), tokenizer
        )
    if layout == "fast_dllm_v2":
        settings = decode_settings(config, tokenizer, source)
        own = block_size or settings["diffusion_block_size"]
        drawn = DraftLayout(mask_id=settings["mask_id"], shift=True, attention="block_causal", block_size=own)
        return DrafterCheckpoint(backbone, drawn, tokenizer)
    conversion = Conversion.of_checkpoint(config, source)
    pattern = conversion.attention_pattern
    if pattern == "autoregressive":
        raise ConfigError(
            f"the drafter {source!r} was trained with attention_pattern 'autoregressive' and never denoised anything; give "
            "one that was trained with another pattern."
        )
    if pattern == "bidirectional":
        drawn = _unblocked(conversion.mask_id, conversion.token_shift, f"{layout}, {pattern}", block_size)
        return DrafterCheckpoint(backbone, drawn, tokenizer)
    return DrafterCheckpoint(
        backbone,
        DraftLayout(
            mask_id=conversion.mask_id,
            shift=conversion.token_shift,
            attention="block_causal",
            block_size=block_size or conversion.diffusion_block_size,
            clean=conversion.clean,
        ),
        tokenizer,
    )


def _unblocked(mask_id: int, shift: bool, layout: str, block_size: int | None) -> DraftLayout:
    if block_size is not None:
        raise ConfigError(f"drafter_block_size is {block_size}, and the layout {layout!r} has no blocks; leave it out.")
    return DraftLayout(mask_id=mask_id, shift=shift)


def _model_type(folder: Path) -> str | None:
    try:
        out: str | None = read_json(folder / "config.json").get("model_type")
        return out
    except (OSError, ValueError, AttributeError):
        # Whatever is wrong with it, the loader says it better.
        return None


def _told(config: Any, source: str) -> LayoutName:
    if config.model_type == DreamConfig.model_type:
        return "dream"
    if getattr(config, "bd_size", None) is not None:
        return "fast_dllm_v2"
    if getattr(config, "dlm_paradigm", None) is not None or published_keys(config) is not None:
        return "efficient_dlm"
    raise ConfigError(
        f"the config of the drafter {source!r} (model_type {config.model_type!r}) does not say how it was trained; give "
        "drafter_layout=dream if it denoises with full attention and shifted logits, or a checkpoint in one of the layouts that "
        "the documentation lists."
    )


def _mask_id(config: Any, source: str) -> int:
    mask_id = config_integer(config, "mask_token_id", source, least=0)
    if mask_id is None:
        raise CheckpointError(
            f"the config of the drafter {source!r} has no mask_token_id; add it, since nothing can be drafted without a mask token."
        )
    return mask_id
