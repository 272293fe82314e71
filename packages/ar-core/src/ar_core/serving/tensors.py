"""Names and shapes of the tensors that a loader looks for, from the fields of a config."""

from collections.abc import Mapping
from typing import Any

from .engines import Family

__all__ = ["expected_tensors"]

Shapes = dict[str, tuple[int, ...]]


def expected_tensors(family: Family, config: Mapping[str, Any]) -> Shapes:
    """Every tensor of a checkpoint, by name, as it lies in the safetensors files.

    Engines merge q, k and v, and gate and up, while they load; checkpoints hold them apart. A tied head is not stored.

    Args:
        family: whose names.
        config: `config.json`; the fields that :class:`ar_core.serving.Architecture` lists are there.

    Returns:
        Name to shape.
    """
    if family == "qwen2_5_vl":
        text = {**config["text_config"], "tie_word_embeddings": config["tie_word_embeddings"]}
        return {**_decoder("qwen2", text), **_vision(config["vision_config"])}
    return _decoder(family, config)


def _decoder(family: Family, config: Mapping[str, Any]) -> Shapes:
    """C width, F width of the MLP, H heads, Hkv heads of keys and values, D head width, V vocabulary."""
    width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    # vLLM's loader of Qwen2 divides; that of SGLang does where the config has no other head width, which is refused.
    head = (None if family == "qwen2" else config.get("head_dim")) or width // heads
    queries, keys = heads * head, config["num_key_value_heads"] * head
    shapes: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    layer: Shapes = {
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
        "self_attn.q_proj.weight": (queries, width),
        "self_attn.k_proj.weight": (keys, width),
        "self_attn.v_proj.weight": (keys, width),
        "self_attn.o_proj.weight": (width, queries),
        "mlp.gate_proj.weight": (inner, width),
        "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
    }
    if family == "qwen2":
        layer |= {f"self_attn.{name}_proj.bias": (rows,) for name, rows in (("q", queries), ("k", keys), ("v", keys))}
    if family == "qwen3":
        layer |= {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return shapes


def _vision(config: Mapping[str, Any]) -> Shapes:
    """The tower of Qwen2.5-VL; its merger reads `spatial_merge_size` squared patches as one."""
    width, inner, out = config["hidden_size"], config["intermediate_size"], config["out_hidden_size"]
    side = config["patch_size"]
    merged = width * config["spatial_merge_size"] ** 2
    channels = config.get("in_channels", config.get("in_chans", 3))
    shapes: Shapes = {
        "visual.patch_embed.proj.weight": (width, channels, config["temporal_patch_size"], side, side),
        "visual.merger.ln_q.weight": (width,),
        **_linear("visual.merger.mlp.0", merged, merged),
        **_linear("visual.merger.mlp.2", out, merged),
    }
    for number in range(config["depth"]):
        block = f"visual.blocks.{number}"
        shapes |= {
            f"{block}.norm1.weight": (width,),
            f"{block}.norm2.weight": (width,),
            **_linear(f"{block}.attn.qkv", 3 * width, width),
            **_linear(f"{block}.attn.proj", width, width),
            **_linear(f"{block}.mlp.gate_proj", inner, width),
            **_linear(f"{block}.mlp.up_proj", inner, width),
            **_linear(f"{block}.mlp.down_proj", width, inner),
        }
    return shapes


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
