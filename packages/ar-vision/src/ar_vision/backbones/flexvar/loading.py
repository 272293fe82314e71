"""FlexVAR (and SAR, which has its layout) as published."""

from collections.abc import Mapping

from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import shape_of
from ..scale_transformer.loading import COMMON_RULES, key_biases, published_shape, without_buffers
from .config import FlexVarConfig
from .model import FlexVar

__all__ = ["from_published", "to_published"]

_KEYS = KeyMap(COMMON_RULES)


def from_published(tensors: Mapping[str, Tensor], *, heads: int | None = None) -> FlexVar:
    """Build the FlexVAR whose weights these are; its shape is read off them.

    Args:
        tensors: flat state dict, such as ``FlexVARd16-epo179.pth`` holds. A mask stored with it is ignored.
        heads: H of weights without learned temperatures, which do not tell it; None: one for every 64 channels.

    Returns:
        The model in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen; names it.
    """
    if "lvl_embed.weight" in tensors:
        raise CheckpointError("it has 'lvl_embed.weight', which VAR has and FlexVAR has not: load it as a VAR (var)")
    try:
        config = FlexVarConfig(**published_shape(tensors, heads), position_side=shape_of(tensors, "pos_1LC")[-1])
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no FlexVAR of a known shape: {error}") from error
    return filled(lambda: FlexVar(config), without_buffers(tensors), layout=_KEYS.to_published)


def to_published(model: FlexVar) -> dict[str, Tensor]:
    """Return the state dict that published code loads strictly; the mask, which it makes anew, is not in it."""
    return {**_KEYS.to_published(model.state_dict()), **key_biases(model.config.depth, model.config.width)}
