"""Confidence from logits, in one pass over the vocabulary.

Source: ours.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ar_kernels.confidence.inputs import check
from ar_kernels.confidence.online import Statistics, merge
from ar_kernels.confidence.reference import reference
from ar_kernels.confidence.result import Confidence
from ar_kernels.implementation import use_triton

__all__ = ["confidence"]

PIECE = 2**16
"""Logits of a piece on a CPU, 256 KiB: what is read again lies in the cache."""


def confidence(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    banned_ids: Sequence[int] = (),
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Confidence:
    """Most probable token of each row, with its probability, entropy and margin.

    Gradients go through probability, entropy and margin; the backward pass holds a softmax of all logits.

    Args:
        logits: [R, V], any floating dtype; statistics are computed in float32 or better.
        temperature: positive divisor of the logits.
        banned_ids: ids that take probability 0 and are never returned.
        implementation: `auto` takes Triton on CUDA and torch, in pieces, elsewhere.

    Returns:
        `Confidence`, float32 (float64 for float64 logits) and int64, on the device of `logits`.

    Raises:
        ValueError: logits are not [R, V], the temperature is not positive, or every id is banned.

    Example:
        >>> confidence(torch.tensor([[0.0, 2.0, 1.0]])).token
        tensor([1])
    """
    if logits.ndim != 2:
        raise ValueError(
            f"confidence takes logits of shape [R, V], got {tuple(logits.shape)}: flatten the leading axes"
        )
    check(logits.shape[1], temperature, banned_ids)
    triton = use_triton(implementation, logits)
    return Confidence(*torch.ops.ar_kernels.confidence(logits, temperature, list(banned_ids), triton))


@torch.library.custom_op("ar_kernels::confidence", mutates_args=())
def _forward(
    logits: Tensor, temperature: float, banned_ids: Sequence[int], triton: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if triton:
        from ar_kernels.confidence.rows_triton import launch

        return launch(logits, temperature, banned_ids)
    return tuple(_in_pieces(logits, temperature, banned_ids))  # type: ignore[return-value]  # a tuple of four, which tuple() forgets


def _in_pieces(logits: Tensor, temperature: float, banned_ids: Sequence[int]) -> Confidence:
    wide = torch.promote_types(logits.dtype, torch.float32)
    found: Statistics | None = None
    size = max(1, PIECE // max(1, len(logits)))
    for first in range(0, logits.shape[1], size):
        z = (
            logits[:, first : first + size] / temperature
            if logits.dtype == wide
            else (logits[:, first : first + size].to(wide).div_(temperature))
        )
        banned = [one - first for one in banned_ids if first <= one < first + z.shape[1]]
        if banned:
            z[:, banned] = -torch.inf
        piece = Statistics.of(z, first)
        found = piece if found is None else merge(found, piece)
    assert found is not None
    return found.confidence()


@_forward.register_fake
def _(logits, temperature, banned_ids, triton):  # type: ignore[no-untyped-def]  # as the op above
    wide = torch.promote_types(logits.dtype, torch.float32)
    rows = logits.shape[:1]
    return (
        logits.new_empty(rows, dtype=torch.int64),
        *(logits.new_empty(rows, dtype=wide) for _ in range(3)),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, ctx.temperature, ctx.banned_ids, _ = inputs
    ctx.save_for_backward(logits)
    ctx.mark_non_differentiable(output[0])


def _backward(ctx: Any, _: Tensor, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    (logits,) = ctx.saved_tensors
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        found = reference(leaf, temperature=ctx.temperature, banned_ids=ctx.banned_ids)[1:]
        pairs = [(one, gradient) for one, gradient in zip(found, gradients, strict=True) if gradient is not None]
        of_logits = torch.autograd.grad([one for one, _ in pairs], leaf, [gradient for _, gradient in pairs])[0]
    return of_logits, None, None, None


_forward.register_autograd(_backward, setup_context=_setup)
