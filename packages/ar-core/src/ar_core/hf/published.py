"""Published layouts that are a known architecture under names of their own, so that no remote code is needed."""

from typing import Any

import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from ar_core.errors import UnsupportedModelError
from ar_core.io import KeyMap

__all__ = [
    "EFFICIENT_DLM",
    "ENCODER_KEYS",
    "FAST_DLLM_MASK_TOKEN",
    "Fast_dLLM_QwenConfig",
    "Fast_dLLM_QwenForCausalLM",
    "base_fields",
    "older_fields",
    "published_keys",
    "register_published",
]

EFFICIENT_DLM = "EfficientDLM"
"""`architectures` of published Efficient-DLM checkpoints (arXiv 2512.14067), whose `model_type` is plainly "qwen3"."""

ENCODER_KEYS = KeyMap((("diffusion_head.weight", "lm_head.weight"), ("encoder.{rest*}", "model.{rest*}")))
"""Names of tensors in Efficient-DLM and Nemotron-Labs-Diffusion checkpoints, and in the transformers model."""

FAST_DLLM_MASK_TOKEN = "|<MASK>|"
"""The mask token of published Fast_dLLM_v2 checkpoints, which have it in their tokenizer and not in their config."""


class Fast_dLLM_QwenConfig(Qwen2Config):
    """Fast-dLLM v2 (arXiv 2509.26328): a Qwen2 config plus `bd_size`."""

    model_type = "Fast_dLLM_Qwen"


class Fast_dLLM_QwenForCausalLM(Qwen2ForCausalLM):
    """Qwen2 under the published name: same keys and tensors; masks and caches come from outside."""

    config_class = Fast_dLLM_QwenConfig


def register_published() -> None:
    """Let transformers' auto classes read the published types; calling it again changes nothing."""
    AutoConfig.register(Fast_dLLM_QwenConfig.model_type, Fast_dLLM_QwenConfig, exist_ok=True)
    AutoModelForCausalLM.register(Fast_dLLM_QwenConfig, Fast_dLLM_QwenForCausalLM, exist_ok=True)


def base_fields(model: nn.Module) -> dict[str, Any]:
    """Fields of `config.json` that name what transformers knows, for a model that was read under a published name.

    Args:
        model: a transformers model.
    """
    if isinstance(model, Fast_dLLM_QwenForCausalLM):
        return {"model_type": Qwen2Config.model_type, "architectures": [Qwen2ForCausalLM.__name__]}
    return {}


def older_fields(config: Any) -> dict[str, Any]:
    """Fields of `config.json` under the names of older transformers, which published code reads.

    Args:
        config: a transformers config.
    """
    rope = dict(config.rope_parameters)
    theta = rope.pop("rope_theta")
    return {
        "rope_theta": theta,
        "rope_scaling": None if rope.get("rope_type", "default") == "default" else rope,
        "torch_dtype": str(config.dtype).removeprefix("torch."),
    }


def published_keys(config: Any) -> KeyMap | None:
    """How the tensors of a checkpoint are named, if not as its model type has them.

    Efficient-DLM and its family (Nemotron-Labs-Diffusion) have the base's `model_type` and are told apart by
    `architectures`, a class that transformers does not have, and by the field `dlm_paradigm`. Checkpoints that we save in
    the plain layout carry that field too, with an architecture that transformers has.

    Args:
        config: a transformers config.

    Raises:
        UnsupportedModelError: the checkpoint asks for another network than its model type.
    """
    architectures = getattr(config, "architectures", None) or ()
    named = EFFICIENT_DLM in architectures or getattr(config, "dlm_paradigm", None) is not None
    if not named or any(hasattr(transformers, name) for name in architectures):
        return None
    for field, expected in (("disable_qk_norm", False), ("dlm_arch", "encoder")):
        if getattr(config, field, expected) != expected:
            raise UnsupportedModelError(
                f"The checkpoint has {field}={getattr(config, field)!r}, which the model type {config.model_type!r} does not "
                f"compute; only {field}={expected!r} can be loaded."
            )
    return ENCODER_KEYS
