"""The dtype of a model's weights, without that of what it computes for itself."""

import torch
from torch import nn

__all__ = ["cast_weights"]


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert what a checkpoint holds: floating-point parameters and persistent buffers, in place.

    Buffers that a model computes for itself keep their dtype. Rotary frequencies are such: `nn.Module.to` would round them,
    and a frequency that is off by 2^-9 turns position 1000 by up to two radians.

    Args:
        module: changed in place; tied parameters stay tied.
        dtype: a floating-point dtype.
    """
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_floating_point() and name not in part._non_persistent_buffers_set:
                part._buffers[name] = buffer.to(dtype)
