"""The backward pass of all variants: gradients that the forward pass made, scaled and put in their places.

Source: ours; as Liger Kernel (arXiv 2410.10989) has it.
"""

from typing import Any

import torch
from torch import Tensor

from ar_kernels.selected_cross_entropy.chunks import kept

__all__ = ["register", "room"]

SLICE = 2**24
"""Numbers of the head's gradient that are scaled at once, 64 MiB in float32."""


def register(op: Any) -> None:
    """Give an op its gradients for hidden states and head.

    Args:
        op: a custom op of (hidden, weight, rows, ..., of_hidden, of_weight) that returns the loss first and d loss / d hidden
            of the rows and d loss / d weight last. All but the loss are constants.
    """
    op.register_autograd(_backward, setup_context=_setup)


def room(
    hidden: Tensor, weight: Tensor, rows: Tensor, weights: Tensor, of_hidden: bool, of_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, d loss / d hidden of the rows and d loss / d weight, not written: what an op returns, in shape and dtype.

    Args:
        hidden: [T, C].
        weight: [V, C].
        rows: int64 [N].
        weights: [N], float32 or better.
        of_hidden: whether the gradient of the hidden states is wanted.
        of_weight: whether that of the head is.

    Returns:
        Scalar, [N, C] and [V, C]; [0] for a gradient that is not wanted.
    """
    return (
        weights.new_empty(()),
        hidden.new_empty((rows.shape[0], hidden.shape[1]) if of_hidden else (0,), dtype=kept(hidden.dtype)),
        weights.new_empty(weight.shape if of_weight else (0,)),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    hidden, _, rows, *_, of_hidden, of_weight = inputs
    ctx.save_for_backward(rows, *output[-2:])
    ctx.shape, ctx.dtype, ctx.of, ctx.others = hidden.shape, hidden.dtype, (of_hidden, of_weight), len(inputs) - 2
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    rows, d_hidden, d_weight = ctx.saved_tensors
    return (*_scattered(of_loss, rows, d_hidden, d_weight, ctx.shape, ctx.dtype, ctx.of), *(None,) * ctx.others)


def _scattered(
    of_loss: Tensor,
    rows: Tensor,
    d_hidden: Tensor,
    d_weight: Tensor,
    shape: torch.Size,
    dtype: torch.dtype,
    of: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients from those for a loss of gradient 1; None where not wanted.

    Args:
        of_loss: scalar; it is not rounded to a narrow dtype, which would scale all gradients by its error.
        rows: int64 [N].
        d_hidden: [N, C], in the dtype `chunks.kept`.
        d_weight: [V, C], float32 or better.
        shape: (T, C).
        dtype: of the gradients.
        of: whether that of the hidden states is wanted, and that of the head.
    """
    hidden = weight = None
    if of[0]:
        scaled = (d_hidden * of_loss.to(d_weight.dtype)[None, None]).to(dtype)
        hidden = scaled.new_zeros(shape)
        # On CUDA index_add_ adds rows that are there twice in no fixed order; index_put_ sorts them before.
        hidden.index_put_((rows,), scaled, accumulate=True) if hidden.is_cuda else hidden.index_add_(0, rows, scaled)
    if of[1]:
        weight = torch.empty_like(d_weight, dtype=dtype)
        # In slices, since a product of wide numbers is there in their dtype before it is rounded.
        lines = max(1, SLICE // d_weight.shape[1])
        for part, narrow in zip(d_weight.split(lines), weight.split(lines)):
            torch.mul(part, of_loss, out=narrow)
    return hidden, weight
