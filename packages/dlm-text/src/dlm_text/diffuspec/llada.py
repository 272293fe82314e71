"""LLaDA checkpoints (`model_type` "llada"): a Llama under other names, loaded as a Llama of transformers."""

from pathlib import Path
from typing import Any

import torch
from ar_core.errors import CheckpointError, UnsupportedModelError
from ar_core.hf import IMPLEMENTATION, register
from ar_core.hf.load import first_line
from ar_core.io import KeyMap, built_on_meta, load_strict, read_checkpoint, require_fit
from ar_core.json_text import read_json
from transformers import LlamaConfig, LlamaForCausalLM

__all__ = ["LLADA_KEYS", "load_llada"]

LLADA_KEYS = KeyMap(
    (
        ("model.transformer.wte.weight", "model.embed_tokens.weight"),
        ("model.transformer.blocks.{i}.q_proj.{part}", "model.layers.{i}.self_attn.q_proj.{part}"),
        ("model.transformer.blocks.{i}.k_proj.{part}", "model.layers.{i}.self_attn.k_proj.{part}"),
        ("model.transformer.blocks.{i}.v_proj.{part}", "model.layers.{i}.self_attn.v_proj.{part}"),
        ("model.transformer.blocks.{i}.attn_out.{part}", "model.layers.{i}.self_attn.o_proj.{part}"),
        ("model.transformer.blocks.{i}.ff_proj.{part}", "model.layers.{i}.mlp.gate_proj.{part}"),
        ("model.transformer.blocks.{i}.up_proj.{part}", "model.layers.{i}.mlp.up_proj.{part}"),
        ("model.transformer.blocks.{i}.ff_out.{part}", "model.layers.{i}.mlp.down_proj.{part}"),
        ("model.transformer.blocks.{i}.attn_norm.{part}", "model.layers.{i}.input_layernorm.{part}"),
        ("model.transformer.blocks.{i}.ff_norm.{part}", "model.layers.{i}.post_attention_layernorm.{part}"),
        ("model.transformer.ln_f.weight", "model.norm.weight"),
        ("model.transformer.ff_out.weight", "lm_head.weight"),
    )
)
"""Published names and those of `LlamaForCausalLM`."""

_REQUIRED: dict[str, tuple[Any, ...]] = {
    "block_type": ("llama",),
    "layer_norm_type": ("rms",),
    "activation_type": ("silu",),
    "include_bias": (False,),
    "include_qkv_bias": (False, None),
    "attention_layer_norm": (False,),
    "alibi": (False,),
    "rope": (True,),
    "scale_logits": (False,),
    "input_emb_norm": (False,),
    "multi_query_attention": (False, None),
    "clip_qkv": (None,),
}
"""Settings that a Llama expresses; fields that a config lacks have their published default, which is one of them."""


def load_llada(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> LlamaForCausalLM:
    """Load a LLaDA checkpoint as a Llama whose positions may all see each other.

    Args:
        folder: config.json and safetensors files as published.
        dtype: of the weights; None keeps the stored one.
        device: where the model goes.

    Raises:
        UnsupportedModelError: a setting that a Llama cannot express; names it.
        CheckpointError: config or weights are absent, damaged, or do not fit each other.
    """
    try:
        given = read_json(folder / "config.json")
        if not isinstance(given, dict):
            raise ValueError("it is no mapping")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} has no config.json that can be read; give a complete LLaDA folder.") from error
    for name, allowed in _REQUIRED.items():
        if name in given and given[name] not in allowed:
            raise UnsupportedModelError(
                f"The LLaDA checkpoint {str(folder)!r} has {name}={given[name]!r}, which a Llama cannot express; use one with "
                f"{name}={allowed[0]!r}."
            )
    try:
        config = _llama(given)
    except KeyError as error:
        raise CheckpointError(f"The config of {str(folder)!r} lacks {error}; give a complete LLaDA folder.") from error
    except Exception as error:
        # What transformers makes of values that no config has.
        raise CheckpointError(
            f"The config of {str(folder)!r} cannot be used ({first_line(error)}); give a complete LLaDA folder."
        ) from error
    tensors = LLADA_KEYS.to_ours(read_checkpoint(folder))
    stored = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)
    register()
    model = built_on_meta(lambda: LlamaForCausalLM(config), len(tensors), str(folder))
    # Before memory is taken for what the config asks for.
    require_fit(model, tensors, source=str(folder))
    torch.nn.Module.to(model.to_empty(device="cpu"), dtype or stored)
    # Rotary frequencies are no part of checkpoints, and empty after the line above.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)
    load_strict(model, tensors, source=str(folder))
    model.set_attn_implementation(IMPLEMENTATION)
    torch.nn.Module.to(model, device)
    out: LlamaForCausalLM = model.eval()
    return out


def _llama(given: dict[str, Any]) -> LlamaConfig:
    heads = given["n_heads"]
    config = LlamaConfig(
        vocab_size=given.get("embedding_size") or given["vocab_size"],
        hidden_size=given["d_model"],
        intermediate_size=given.get("mlp_hidden_size") or given["mlp_ratio"] * given["d_model"],
        num_hidden_layers=given["n_layers"],
        num_attention_heads=heads,
        num_key_value_heads=given.get("n_kv_heads") or heads,
        max_position_embeddings=given["max_sequence_length"],
        rms_norm_eps=given.get("rms_norm_eps", 1e-5),
        rope_parameters={"rope_type": "default", "rope_theta": given.get("rope_theta", 10000.0)},
        tie_word_embeddings=given.get("weight_tying", False),
        pad_token_id=given.get("pad_token_id"),
        eos_token_id=given.get("eos_token_id"),
        bos_token_id=given.get("bos_token_id"),
    )
    config.mask_token_id = given.get("mask_token_id")
    return config
