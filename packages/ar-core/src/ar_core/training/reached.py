"""Parameters that get a gradient, if only zero, whatever a micro-batch holds."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["with_all_reached"]


def with_all_reached(tensor: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """A copy whose backward pass adds zero to the gradient of each parameter.

    Processes that reduce gradients together must all have the same ones, and their samples may not reach the same parameters.

    Args:
        tensor: Of any shape, floating point, with or without a graph behind it.
        parameters: Those that require a gradient, of any shape.

    Returns:
        The values of ``tensor``, in its shape.
    """
    out: Tensor = _Reach.apply(tensor, *parameters)
    return out


class _Reach(torch.autograd.Function):
    """The identity in its first input, constant in all others."""

    @staticmethod
    def forward(tensor: Tensor, *parameters: Tensor) -> Tensor:
        return tensor.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.forms = [(one.shape, one.dtype, one.device) for one in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        # One element each, seen as the whole: nothing is written until a gradient is added to it.
        zeros = [torch.zeros((), dtype=dtype, device=device).expand(shape) for shape, dtype, device in ctx.forms]
        return gradients[0], *zeros
