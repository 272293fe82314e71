"""Published CAR checkpoints (MiracleDance/CAR: ``car_canny_d16.pth`` and the like), read and written."""

from collections.abc import Mapping

import torch
from ar_core.errors import CheckpointError
from torch import Tensor

from ...backbones.scale_transformer.loading import KEY_BIAS, key_biases, without_buffers
from ...backbones.var.config import VarConfig
from ...checkpoint import filled
from ...published_layout import highest, shape_of
from ..layout import CAR_LAYOUT
from .car import CarControl
from .config import CarConfig

__all__ = ["from_published", "to_published"]


def from_published(tensors: Mapping[str, Tensor], base: VarConfig, image_size: int = 256) -> CarControl:
    """Build the control branch that published weights are of; all keys fit, or none is loaded.

    Args:
        tensors: flat state dict; names begin with ``car_``.
        base: shape of the VAR that the branch was trained beside.
        image_size: H = W.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen, or the branch is of a base of another width or depth.
    """
    width = shape_of(tensors, "car_var_conv.weight")[0]
    blocks = highest(tensors, "car_blocks") + 1
    if (width, blocks) != (base.width, base.depth // 2):
        raise CheckpointError(
            f"the CAR branch has {blocks} blocks of width {width} and the base needs {base.depth // 2} of {base.width}: give the VAR that "
            "it was trained beside"
        )
    stages = [shape_of(tensors, f"car_control_convs.blocks.{i}.weight")[0] for i in range(1, _convs(tensors), 2)]
    config = CarConfig(channels=(shape_of(tensors, "car_control_convs.conv_in.weight")[0], *stages))
    return filled(
        lambda: CarControl(config, base, image_size),
        without_buffers(tensors),
        layout=CAR_LAYOUT.to_published,
        source="the CAR checkpoint",
    )


def to_published(controller: CarControl) -> dict[str, Tensor]:
    """Return the weights under their published names, with the zero biases of keys."""
    zeros = key_biases(len(controller.blocks), controller.base_config.width)
    named = {f"car_{name}": zero for name, zero in zeros.items() if name.endswith(KEY_BIAS)}
    with torch.no_grad():
        return {**CAR_LAYOUT.to_published(controller.state_dict()), **named}


def _convs(tensors: Mapping[str, Tensor]) -> int:
    return highest(tensors, "car_control_convs.blocks") + 1
