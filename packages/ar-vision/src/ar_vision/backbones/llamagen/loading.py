"""Published LlamaGen weights in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import highest, shape_of
from .config import SIZES, LlamaGenConfig
from .model import LlamaGen

__all__ = ["KEYS", "from_published", "infer_config", "to_published"]

KEYS = KeyMap(
    (
        ("cls_embedding.embedding_table.weight", "condition.table.weight"),
        ("cls_embedding.cap_proj.{layer}.weight", "condition.{layer}.weight"),
        ("cls_embedding.uncond_embedding", "condition.null_features"),
        ("tok_embeddings.weight", "codes.weight"),
        ("layers.{i}.attention.wqkv.weight", "layers.{i}.attention.qkv.weight"),
        ("layers.{i}.attention.wo.weight", "layers.{i}.attention.out.weight"),
        ("layers.{i}.feed_forward.w1.weight", "layers.{i}.ffn.gate.weight"),
        ("layers.{i}.feed_forward.w3.weight", "layers.{i}.ffn.up.weight"),
        ("layers.{i}.feed_forward.w2.weight", "layers.{i}.ffn.down.weight"),
        ("layers.{i}.attention_norm.weight", "layers.{i}.attention_norm.weight"),
        ("layers.{i}.ffn_norm.weight", "layers.{i}.ffn_norm.weight"),
        ("norm.weight", "norm.weight"),
        ("output.weight", "output.weight"),
    )
)
"""The published layout and ours, once containers are unwrapped."""

ROTARY_TABLE = "freqs_cis"
"""In old files; it follows from the config."""


def from_published(tensors: Mapping[str, Tensor], *, grid: int | None = None, heads: int | None = None) -> LlamaGen:
    """Return the model that a flat state dict in the published layout holds, in its dtype, in eval mode.

    Args:
        tensors: by published name.
        grid: g, which the weights do not tell: 16 for files of 256 px, 24 for 384, 32 for 512. Not needed for files that hold
            their rotary table.
        heads: H, for sizes that were not published.

    Raises:
        CheckpointError: a key is missing, unknown or misshapen; every one is named.
        ConfigError: grid or heads are needed and not given, or contradict the file.
    """
    config = infer_config(tensors, grid=grid, heads=heads)
    weights = {key: tensor for key, tensor in tensors.items() if key != ROTARY_TABLE}
    return filled(lambda: LlamaGen(config), weights, layout=KEYS.to_published)


def to_published(model: LlamaGen) -> dict[str, Tensor]:
    """Return a model's weights as the published layout names them."""
    return KEYS.to_published(model.state_dict())


def infer_config(tensors: Mapping[str, Tensor], *, grid: int | None = None, heads: int | None = None) -> LlamaGenConfig:
    """Return the config of published weights from their shapes; raises as :func:`from_published` does."""
    classes, texts = "cls_embedding.embedding_table.weight", "cls_embedding.uncond_embedding"
    vocab, dim = shape_of(tensors, "tok_embeddings.weight", 2)
    layers = max(highest(tensors, "layers") + 1, 1)
    if texts in tensors:
        tokens, width = shape_of(tensors, texts, 2)
        condition = {"condition": "text", "text_tokens": tokens, "text_dim": width}
    else:
        condition = {"num_classes": shape_of(tensors, classes, 2)[0] - 1}
        tokens = 1
    found_grid, found_heads = _from_table(tensors.get(ROTARY_TABLE), dim, tokens)
    found_heads = found_heads or next((s.heads for s in SIZES.values() if (s.layers, s.dim) == (layers, dim)), None)
    return LlamaGenConfig(
        layers=layers,
        heads=_settled("heads", heads, found_heads, f"{layers} layers of width {dim} are no published size"),
        dim=dim,
        vocab_size=vocab,
        grid=_settled("grid", grid, found_grid, "the file does not hold it (16 for 256 px, 24 for 384, 32 for 512)"),
        **condition,  # type: ignore[arg-type]  # fields of the condition, by name
    )


def _from_table(table: Tensor | None, dim: int, prefix: int) -> tuple[int | None, int | None]:
    if table is None:
        return None, None
    codes, pairs = (table.shape[0] - prefix, table.shape[1]) if table.ndim == 3 else (0, 0)
    if pairs < 1 or codes < 1 or math.isqrt(codes) ** 2 != codes or dim % (2 * pairs):
        raise CheckpointError(
            f"{ROTARY_TABLE!r} has shape {list(table.shape)}, which is no table of {prefix} condition positions and a square of "
            f"codes for a width of {dim}: the file is damaged, or of another architecture"
        )
    return math.isqrt(codes), dim // (2 * pairs)


def _settled(name: str, given: int | None, found: int | None, why: str) -> int:
    if given is not None and (type(given) is not int or given < 1):
        raise ConfigError(f"{name} is {given!r}: give a positive whole number")
    if given is None and found is None:
        raise ConfigError(f"{name} is needed: {why}; give {name}")
    if given is not None and found is not None and given != found:
        raise ConfigError(f"{name} is {given} and the file says {found}: leave it out")
    return given if given is not None else found  # type: ignore[return-value]  # one of the two is given
