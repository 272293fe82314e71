"""Published weights of VAR and FlexVAR: names, and the shape of the model that they are of."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from ar_core.errors import CheckpointError
from torch import Tensor

from ...published_layout import highest, shape_of

__all__ = ["COMMON_RULES", "KEY_BIAS", "key_biases", "published_shape", "without_buffers"]

COMMON_RULES = (
    ("pos_start", "start"),
    ("pos_1LC", "positions"),
    ("word_embed.{p}", "word_embed.{p}"),
    ("class_emb.weight", "class_embedding.weight"),
    ("shared_ada_lin.1.{p}", "shared.linear.{p}"),
    ("blocks.{i}.ada_lin.1.{p}", "blocks.{i}.modulation.linear.{p}"),
    ("blocks.{i}.ada_gss", "blocks.{i}.modulation.offset"),
    ("blocks.{i}.attn.scale_mul_1H11", "blocks.{i}.attention.log_scale"),
    ("blocks.{i}.attn.mat_qkv.weight", "blocks.{i}.attention.qkv.weight"),
    ("blocks.{i}.attn.{rest*}", "blocks.{i}.attention.{rest*}"),
    ("blocks.{i}.ffn.{layer}.{p}", "blocks.{i}.ffn.{layer}.{p}"),
    ("head_nm.ada_lin.1.{p}", "head.modulation.linear.{p}"),
    ("head.{p}", "head.linear.{p}"),
)
"""Published name and ours of what both models have."""

_BUFFERS = ("attn_bias_for_masking", "lvl_1L")
KEY_BIAS = ".zero_k_bias"
"""End of the names of buffers that stand for the bias that keys do not have."""


def published_shape(tensors: Mapping[str, Tensor], heads: int | None = None) -> dict[str, Any]:
    """Read the settings of a `ScaleTransformerConfig` off names and shapes.

    Args:
        tensors: flat state dict by published name.
        heads: H, where there are no learned temperatures to tell it; None: one for every 64 channels, as in all published models.

    Raises:
        CheckpointError: a key that they are read from is missing or misshapen; names it.
    """
    width, code_dim = shape_of(tensors, "word_embed.weight", 2)
    temperature = "blocks.0.attn.scale_mul_1H11"
    l2_norm = temperature in tensors
    return {
        "vocab_size": shape_of(tensors, "head.weight", 2)[0],
        "code_dim": code_dim,
        "num_classes": shape_of(tensors, "class_emb.weight", 2)[0] - 1,
        "depth": highest(tensors, "blocks") + 1,
        "width": width,
        "heads": shape_of(tensors, temperature)[1] if l2_norm else heads or max(width // 64, 1),
        "ffn_ratio": shape_of(tensors, "blocks.0.ffn.fc1.weight", 2)[0] // width,
        "l2_norm": l2_norm,
        "shared_adaln": any(name.endswith(".ada_gss") for name in tensors),
    }


def without_buffers(tensors: Mapping[str, Tensor], buffers: Collection[str] = _BUFFERS) -> dict[str, Tensor]:
    """Return the tensors without published buffers that are no weights: mask, scale of each position, zero bias of keys.

    Args:
        tensors: flat state dict by published name.
        buffers: names of those but the biases.

    Raises:
        CheckpointError: a bias of keys is not zero.
    """
    kept = {}
    for name, tensor in tensors.items():
        if name.endswith(KEY_BIAS) and bool(tensor.any()):
            raise CheckpointError(
                f"{name!r} is not zero, and keys have no bias in this architecture: these are weights of another one"
            )
        if name not in buffers and not name.endswith(KEY_BIAS):
            kept[name] = tensor
    return kept


def key_biases(depth: int, width: int) -> dict[str, Tensor]:
    """Return the zero biases of keys that published code has in its state dict."""
    return {f"blocks.{i}.attn{KEY_BIAS}": torch.zeros(width) for i in range(depth)}
