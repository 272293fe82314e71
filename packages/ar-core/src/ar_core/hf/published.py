"""Published model types that are a known architecture under a name of their own, so that no remote code is needed."""

from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

__all__ = ["FAST_DLLM_MASK_TOKEN", "Fast_dLLM_QwenConfig", "Fast_dLLM_QwenForCausalLM", "register_published"]


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
