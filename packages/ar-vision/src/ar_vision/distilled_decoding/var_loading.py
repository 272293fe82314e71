"""The students of VAR in the layout of their published weights (``VAR-DD/var-d16.pth``)."""

from collections.abc import Mapping

import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ..backbones.scale_transformer.loading import COMMON_RULES, key_biases, published_shape, without_buffers
from ..backbones.var.config import PUBLISHED_SCALES
from ..checkpoint import filled
from ..published_layout import shape_of
from .student_config import NoiseDataEmbedding, VarStudentConfig
from .var_student import VarStudent, student_mask

__all__ = ["STUDENT_RULES", "from_published", "to_published"]

STUDENT_RULES = (
    ("n_d_embed.weight", "noise_data.table.weight"),
    ("layerwise_n_d_embed.{i}.{p}", "noise_data.layerwise.{i}.{p}"),
    ("final_layer_conti.scale_shift_table", "continuous_head.shift_and_scale"),
    ("final_layer_conti.linear.{p}", "continuous_head.linear.{p}"),
)
"""Published name and ours of what students have beside their teachers' weights."""

_KEYS = KeyMap((("lvl_embed.weight", "scale_embedding.weight"), *STUDENT_RULES, *COMMON_RULES))
_SPLITS = {16: (5, 5), 20: (4, 4), 24: (4, 4)}
"""Split and second timestep of the published depths."""


def from_published(
    tensors: Mapping[str, Tensor],
    *,
    heads: int | None = None,
    timesteps: tuple[int, ...] | None = None,
    split: int | None = None,
) -> VarStudent:
    """Build the student whose weights these are; its shape and scales are read off them.

    Args:
        tensors: flat state dict; of training checkpoints, the averaged weights are those that were published.
        heads: H of weights without learned temperatures.
        timesteps: t that it was trained with, which weights do not tell; None: those of the published model of that depth, else 0.
        split: scales that are read off the logits; None: as published for that depth, else all.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen, or the scales cannot be told; names the key.
    """
    scales = _scales(tensors)
    shape = published_shape(tensors, heads)
    count = len(scales)
    known = _SPLITS.get(shape["depth"]) if scales == PUBLISHED_SCALES[256] else None
    chosen = (count, None) if known is None else known
    layerwise = any(name.startswith("layerwise_n_d_embed.") for name in tensors)
    try:
        config = VarStudentConfig(
            **shape,
            scales=scales,
            noise_data_embed=NoiseDataEmbedding(layerwise=layerwise),
            timesteps=timesteps if timesteps is not None else tuple(t for t in (0, chosen[1]) if t is not None),
            split=chosen[0] if split is None else split,
        )
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no VAR student of a known shape: {error}") from error
    return filled(lambda: VarStudent(config), without_buffers(tensors), layout=_KEYS.to_published)


def to_published(student: VarStudent) -> dict[str, Tensor]:
    """Return the state dict that published code loads, its buffers included."""
    config, schedule = student.config, student.schedule
    visible = student_mask(schedule, 0, torch.device("cpu")).dense()
    lengths = torch.tensor([1, *schedule.lengths])
    return {
        **_KEYS.to_published(student.state_dict()),
        **key_biases(config.depth, config.width),
        "lvl_1L": torch.repeat_interleave(lengths)[None],
        "attn_bias_for_masking": torch.zeros(visible.shape).masked_fill(~visible, -torch.inf),
    }


def _scales(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Sides of the scales behind the class token."""
    count, length = shape_of(tensors, "lvl_embed.weight", 2)[0] - 1, shape_of(tensors, "pos_1LC", 3)[1] - 1
    for scales in PUBLISHED_SCALES.values():
        if "lvl_1L" not in tensors and len(scales) == count and sum(side * side for side in scales) == length:
            return scales
    if "lvl_1L" not in tensors:
        raise CheckpointError(
            f"it lacks 'lvl_1L', and no published schedule has {count} scales and {length} positions behind the class: without "
            "it the scales cannot be told"
        )
    # The class is level 0; a first scale of one token is a level of its own.
    lengths = torch.unique_consecutive(tensors["lvl_1L"].flatten(), return_counts=True)[1].tolist()[1:]
    sides = tuple(round(tokens**0.5) for tokens in lengths)
    if [side * side for side in sides] != lengths or len(sides) != count or sum(lengths) != length:
        raise CheckpointError(
            f"'lvl_1L' has scales of {lengths} tokens behind the class, which are not the {count} squares of together {length} "
            "that 'lvl_embed.weight' and 'pos_1LC' are for: these are weights of a VAR, or damaged"
        )
    return sides
