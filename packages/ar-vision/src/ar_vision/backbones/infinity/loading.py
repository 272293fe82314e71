"""Published Infinity transformers in and out."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from ar_core.errors import CheckpointError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import highest, shape_of
from ...text.config import TextEncoderName
from ..scale_transformer.loading import KEY_BIAS, without_buffers
from .config import InfinityConfig
from .model import Infinity, draw_null_text

__all__ = ["KEYS", "fitted_null_text", "from_published", "to_published"]

KEYS = KeyMap(
    (
        ("cfg_uncond", "null_text"),
        ("pos_start", "start"),
        ("text_norm.weight", "text.norm.weight"),
        ("text_proj_for_sos.ca.mat_q", "text.query"),
        ("text_proj_for_sos.ca.mat_kv.weight", "text.kv.weight"),
        ("text_proj_for_sos.ca.v_bias", "text.v_bias"),
        ("text_proj_for_sos.ca.proj.{p}", "text.proj.{p}"),
        ("text_proj_for_ca.{i}.{p}", "text.memory.{i}.{p}"),
        ("lvl_embed.weight", "levels.weight"),
        ("word_embed.{p}", "word.{p}"),
        ("shared_ada_lin.1.{p}", "shared.linear.{p}"),
        ("head_nm.ada_lin.1.{p}", "output.modulation.linear.{p}"),
        ("head.{p}", "output.linear.{p}"),
        ("blocks.{i}.ada_gss", "blocks.{i}.modulation.offset"),
        ("blocks.{i}.sa.scale_mul_1H11", "blocks.{i}.attention.log_scale"),
        ("blocks.{i}.sa.mat_qkv.weight", "blocks.{i}.attention.qkv.weight"),
        ("blocks.{i}.sa.{bias}", "blocks.{i}.attention.{bias}"),
        ("blocks.{i}.sa.proj.{p}", "blocks.{i}.attention.proj.{p}"),
        ("blocks.{i}.ca.mat_q.{p}", "blocks.{i}.cross.q.{p}"),
        ("blocks.{i}.ca.mat_kv.weight", "blocks.{i}.cross.kv.weight"),
        ("blocks.{i}.ca.v_bias", "blocks.{i}.cross.v_bias"),
        ("blocks.{i}.ca.proj.{p}", "blocks.{i}.cross.proj.{p}"),
        ("blocks.{i}.ca_norm.{p}", "blocks.{i}.cross_norm.{p}"),
        ("blocks.{i}.ffn.{layer}.{p}", "blocks.{i}.feed_forward.{layer}.{p}"),
    )
)
"""The flat published layout and ours, without its buffers."""

LEGACY = ("lvl_1L", "attn_bias_for_masking", "Infinity_visible_kvlen", "Infinity_invisible_qlen")
"""Buffers of old files, which follow from the schedule."""


def from_published(
    tensors: Mapping[str, Tensor],
    *,
    patchify: bool | None = None,
    schedules: tuple[tuple[tuple[int, int], ...], ...] | None = None,
    text_encoder: TextEncoderName = "t5",
    text_length: int | None = None,
) -> Infinity:
    """Build the transformer whose weights these are; its shape is read off them.

    Both layouts are read: ``blocks.{i}`` and ``block_chunks.{c}.module.{j}``. Buffers that follow from the rest are ignored.

    Args:
        tensors: flat state dict, such as ``infinity_2b_reg.pth`` or the joined shards of the 8B hold.
        patchify: whether a token is 2x2 latent cells, which weights do not show. None: as published, where it has 56 bits.
        schedules: as in ``InfinityConfig``, which weights do not show either.
        text_encoder: as in ``InfinityConfig``.
        text_length: most tokens of a text, for which the learned unconditional text is cut off, or completed by fresh rows.
            None: as many as it has.

    Returns:
        The model in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen, names it; or a bias that keys do not have is not zero.
    """
    weights = without_buffers(tensors, LEGACY)
    chunks = highest(weights, "block_chunks") + 1
    config = replace(
        _config(weights, chunks),
        schedules=schedules,
        text_encoder=text_encoder,
    )
    if patchify is not None:
        config = replace(config, patchify=patchify)
    if text_length is not None:
        config = replace(config, text_length=text_length)
        weights["cfg_uncond"] = fitted_null_text(weights["cfg_uncond"], text_length)
    return filled(lambda: Infinity(config), weights, layout=partial(_named, depth=config.depth, chunks=chunks or 1))


def to_published(model: Infinity, chunks: int = 1) -> dict[str, Tensor]:
    """Return the weights by published name, with the zero biases of keys that published files have.

    Args:
        model: the transformer.
        chunks: groups of blocks in the names (``config.CHUNKS`` has those of the published sizes); 1: the flat layout.

    Raises:
        CheckpointError: the groups would be unequal.
    """
    depth = model.config.depth
    if chunks < 1 or depth % chunks:
        raise CheckpointError(f"{depth} blocks do not divide into {chunks} chunks: give a divisor")
    tensors = _named(model.state_dict(), depth=depth, chunks=chunks)
    holders = [name.removesuffix(".v_bias") for name in tensors if name.endswith(".v_bias")]
    return tensors | {f"{holder}{KEY_BIAS}": torch.zeros_like(tensors[f"{holder}.v_bias"]) for holder in holders}


def fitted_null_text(table: Tensor, rows: int) -> Tensor:
    """Return a learned unconditional text [T, Ct] cut off to so many rows, or completed by those of a fresh one."""
    fresh = torch.empty(rows, table.shape[1])
    draw_null_text(fresh)
    return torch.cat([table[:rows], fresh[len(table) :].to(table)])


def _config(weights: Mapping[str, Tensor], chunks: int) -> InfinityConfig:
    """What shapes tell, and for the rest what is published."""
    if chunks:
        first = "block_chunks.0.module.0"
        depth = chunks * (max(highest(weights, f"block_chunks.{chunk}.module") for chunk in range(chunks)) + 1)
    else:
        first, depth = "blocks.0", highest(weights, "blocks") + 1
    width, bits = shape_of(weights, "word_embed.weight", 2)
    text_length, text_width = shape_of(weights, "cfg_uncond", 2)
    return InfinityConfig(
        depth=depth,
        width=width,
        heads=shape_of(weights, f"{first}.sa.scale_mul_1H11")[1],
        hidden=shape_of(weights, f"{first}.ffn.fc1.weight", 2)[0],
        bits=bits,
        patchify=bits == 56,
        text_width=text_width,
        text_length=text_length,
        pool_heads=shape_of(weights, "text_proj_for_sos.ca.mat_q", 3)[1],
    )


def _named(ours: Mapping[str, Tensor], *, depth: int, chunks: int) -> dict[str, Tensor]:
    """Tensors of a model by published name, without buffers."""
    flat = KEYS.to_published(ours)
    if chunks == 1:
        return flat
    per_chunk = depth // chunks

    def place(found: re.Match[str]) -> str:
        chunk, block = divmod(int(found[1]), per_chunk)
        return f"block_chunks.{chunk}.module.{block}."

    return {re.sub(r"^blocks\.(\d+)\.", place, name): tensor for name, tensor in flat.items()}
