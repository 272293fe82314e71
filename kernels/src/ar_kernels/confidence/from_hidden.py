"""Confidence from hidden states and an LM head, without the logits.

Source: ours.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ar_kernels.confidence.inputs import check
from ar_kernels.confidence.online import Statistics, merge
from ar_kernels.confidence.result import Confidence
from ar_kernels.implementation import use_triton

__all__ = ["confidence_from_hidden"]

PIECE = 2**17
"""Logits of a piece on a CPU, 512 KiB."""
FEWEST_IDS = 512
"""Ids of a piece: with fewer, the product is narrow."""


def confidence_from_hidden(
    hidden: Tensor,
    weight: Tensor,
    *,
    scale: float = 1.0,
    cap: float | None = None,
    temperature: float = 1.0,
    banned_ids: Sequence[int] = (),
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Confidence:
    """`confidence` of the logits cap tanh(scale h W^T / cap), of which only pieces are ever there.

    For inference: no gradients.

    Args:
        hidden: [R, C], any floating dtype.
        weight: [V, C], of the head, in the same dtype.
        scale: factor of the logits, as the model has it.
        cap: bound of the logits; None: none.
        temperature: positive divisor of the logits.
        banned_ids: ids that take probability 0 and are never returned.
        implementation: `auto` takes Triton on CUDA and torch, in pieces, elsewhere.

    Returns:
        `Confidence`.

    Raises:
        ValueError: shapes or dtypes do not fit, or as `confidence`.

    Example:
        >>> confidence_from_hidden(torch.eye(2), torch.eye(3, 2)).token
        tensor([0, 1])
    """
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1] or hidden.dtype != weight.dtype:
        raise ValueError(
            f"confidence_from_hidden got hidden states {tuple(hidden.shape)} {hidden.dtype} and a head {tuple(weight.shape)} "
            f"{weight.dtype}: give [R, C] and [V, C] of one dtype"
        )
    check(len(weight), temperature, banned_ids)
    if cap is not None and not cap > 0:
        raise ValueError(f"cap is {cap} and bounds a size: give a positive one, or None")
    triton = use_triton(implementation, hidden)
    return Confidence(
        *torch.ops.ar_kernels.confidence_from_hidden(
            hidden.detach(), weight.detach(), scale, cap, temperature, list(banned_ids), triton
        )
    )


@torch.library.custom_op("ar_kernels::confidence_from_hidden", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    scale: float,
    cap: float | None,
    temperature: float,
    banned_ids: Sequence[int],
    triton: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if triton:
        from ar_kernels.confidence.head_triton import launch

        return launch(hidden, weight, scale, cap, temperature, banned_ids)
    found = _in_pieces(hidden, weight, scale, cap, temperature, banned_ids)
    return tuple(found.confidence())  # type: ignore[return-value]  # a tuple of four, which tuple() forgets


def _in_pieces(
    hidden: Tensor, weight: Tensor, scale: float, cap: float | None, temperature: float, banned_ids: Sequence[int]
) -> Statistics:
    wide = torch.promote_types(hidden.dtype, torch.float32)
    size = max(FEWEST_IDS, PIECE // max(1, len(hidden)))
    found: Statistics | None = None
    for first in range(0, len(weight), size):
        part = weight[first : first + size]
        z = (hidden @ part.T).to(wide)
        if cap is not None:
            z.mul_(scale / cap).tanh_().mul_(cap / temperature)
        elif scale != temperature:
            z.mul_(scale / temperature)
        banned = [one - first for one in banned_ids if first <= one < first + len(part)]
        if banned:
            z[:, banned] = -torch.inf
        piece = Statistics.of(z, first)
        found = piece if found is None else merge(found, piece)
    assert found is not None
    return found


@_forward.register_fake
def _(hidden, weight, scale, cap, temperature, banned_ids, triton):  # type: ignore[no-untyped-def]  # as the op above
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rows = hidden.shape[:1]
    return (
        hidden.new_empty(rows, dtype=torch.int64),
        *(hidden.new_empty(rows, dtype=wide) for _ in range(3)),
    )
