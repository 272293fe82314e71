"""Dream checkpoints (`model_type` "Dream"): Qwen2 weights under a name of their own, read without remote code."""

from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

__all__ = ["DreamConfig", "DreamForCausalLM", "register_dream"]


class DreamConfig(Qwen2Config):
    """A Qwen2 config plus `mask_token_id`; the generation config of published checkpoints has none."""

    model_type = "Dream"


class DreamForCausalLM(Qwen2ForCausalLM):
    """Qwen2 under the published name: same keys and tensors; that all positions see each other comes from the mask."""

    config_class = DreamConfig


def register_dream() -> None:
    """Let transformers' auto classes read the type; calling it again changes nothing."""
    AutoConfig.register(DreamConfig.model_type, DreamConfig, exist_ok=True)
    AutoModelForCausalLM.register(DreamConfig, DreamForCausalLM, exist_ok=True)
