"""Tiny models of the families that checkpoints are of."""

from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

__all__ = ["FAMILIES", "SIZES"]

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "qwen2": lambda tie: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=tie)),
    "qwen3": lambda tie: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=tie)),
    "llama": lambda tie: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=tie)),
}
