"""VAR in the layout of its published weights."""

from collections.abc import Mapping

import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import shape_of
from ..scale_mask import scale_mask
from ..scale_transformer.loading import COMMON_RULES, key_biases, published_shape, without_buffers
from .config import PUBLISHED_SCALES, VarConfig
from .model import Var

__all__ = ["from_published", "to_published"]

_KEYS = KeyMap((("lvl_embed.weight", "scale_embedding.weight"), *COMMON_RULES))


def from_published(tensors: Mapping[str, Tensor], *, heads: int | None = None) -> Var:
    """Build the VAR whose weights these are; its shape and schedule are read off them.

    Both kinds of adaptive layer norm are told by their names, so that weights for 512 px (one modulation for all blocks) need
    no flag.

    Args:
        tensors: flat state dict, such as ``var_d16.pth`` holds.
        heads: H of weights without learned temperatures, which do not tell it; None: one for every 64 channels.

    Returns:
        The model in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen, or the schedule cannot be told; names the key.
    """
    shape = published_shape(tensors, heads)
    scales = _scales(tensors)
    try:
        config = VarConfig(**shape, scales=scales)
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no VAR of a known shape: {error}") from error
    return filled(lambda: Var(config), without_buffers(tensors), layout=_KEYS.to_published)


def to_published(model: Var) -> dict[str, Tensor]:
    """Return the state dict that published code loads strictly, its buffers included."""
    config, schedule = model.config, model.schedule
    visible = scale_mask(schedule, torch.device("cpu")).dense()
    return {
        **_KEYS.to_published(model.state_dict()),
        **key_biases(config.depth, config.width),
        "lvl_1L": schedule.scale_ids()[None],
        "attn_bias_for_masking": torch.zeros(visible.shape).masked_fill(~visible, -torch.inf),
    }


def _scales(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Sides of the scales: from the scale of each position, or the published schedule of so many scales and positions."""
    count, length = shape_of(tensors, "lvl_embed.weight", 2)[0], shape_of(tensors, "pos_1LC", 3)[1]
    if "lvl_1L" not in tensors:
        for scales in PUBLISHED_SCALES.values():
            if len(scales) == count and sum(side * side for side in scales) == length:
                return scales
        raise CheckpointError(
            f"it lacks 'lvl_1L', and no published schedule has {count} scales and {length} positions: without it the scales "
            "cannot be told"
        )
    lengths = torch.unique_consecutive(tensors["lvl_1L"].flatten(), return_counts=True)[1].tolist()
    sides = tuple(round(tokens**0.5) for tokens in lengths)
    if [side * side for side in sides] != lengths or len(sides) != count or sum(lengths) != length:
        raise CheckpointError(
            f"'lvl_1L' has scales of {lengths} tokens, which are not the {count} squares of together {length} that "
            "'lvl_embed.weight' and 'pos_1LC' are for"
        )
    return sides
