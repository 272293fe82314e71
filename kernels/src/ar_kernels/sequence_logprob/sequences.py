"""The op and its gradients.

What a sequence's log-probability is worth to a loss is known only when those of its partners are: the gradients of
`selected_cross_entropy`, made in the forward pass, would come too early. So the chunks run again in the backward pass, with the
gradient of each sequence as the weight of its rows; all else is shared with that op.

Source: ours.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ar_kernels.implementation import use_triton
from ar_kernels.selected_cross_entropy import rows as torch_rows
from ar_kernels.selected_cross_entropy.chunks import Sums, lift, run
from ar_kernels.selected_cross_entropy.inputs import check_head, check_ids

__all__ = ["sequence_logprob"]


def sequence_logprob(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
    max_logits: int | None = None,
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Tensor:
    """Sum over a sequence of log softmax(z)[label], z = cap tanh(scale h W^T / cap), one number a sequence.

    Exact, with gradients for `hidden` and `weight`. Head, normaliser and choice run in chunks of at most `max_logits` logits, once
    forward and once more backward. Sequences of thousands of nats are compared by differences of a few: a sum is added up in
    float64 and rounded once.

    Args:
        hidden: [B, L, C], any float dtype; row i predicts label i.
        weight: [V, C], of the head, in the same dtype.
        labels: int64 [B, L] in [0, V) where valid. On CUDA nobody looks: one outside makes the sequence and its gradients NaN.
        valid: bool [B, L]; False counts 0, such as padding. None: all are valid.
        scale: factor of the logits, not 0.
        cap: bound of the logits; None: none.
        max_logits: most logits held at once, though never less than a row's, and never more than are fast: 2^23 on a CPU,
            2^28 elsewhere.
        implementation: `auto` takes Triton on CUDA and torch elsewhere; both chunk.

    Returns:
        [B], float32 (float64 for float64 input).

    Raises:
        ValueError: shapes or dtypes do not fit, or a setting is out of range. Labels are checked on a CPU only.

    Example:
        >>> h, w = torch.eye(2)[None], torch.eye(3, 2)
        >>> sequence_logprob(h, w, torch.tensor([[0, 0]]))
        tensor([-2.1029])
    """
    if hidden.ndim != 3:
        raise ValueError(f"hidden states are {tuple(hidden.shape)}: give [B, L, C]")
    check_head(hidden.flatten(0, 1), weight, scale, cap, max_logits)
    if labels.shape != hidden.shape[:2] or labels.dtype != torch.int64:
        raise ValueError(
            f"labels are {labels.dtype} {tuple(labels.shape)} and must be int64 {tuple(hidden.shape[:2])}, one for each position"
        )
    if valid is not None and (valid.shape != labels.shape or valid.dtype != torch.bool):
        raise ValueError(
            f"valid is {valid.dtype} {tuple(valid.shape)} and must be bool {tuple(labels.shape)}, one for each position"
        )
    if valid is not None:
        labels = labels.masked_fill(~valid, 0)
    out: Tensor = torch.ops.ar_kernels.sequence_logprob(
        hidden, weight, labels, valid, scale, cap, max_logits, use_triton(implementation, hidden)
    )
    return out


@torch.library.custom_op("ar_kernels::sequence_logprob", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    triton: bool,
) -> Tensor:
    check_ids(labels, len(weight), "labels")
    found = hidden.new_empty(labels.numel(), dtype=_wide(hidden))
    rows, targets, ones = _rows(triton), labels.flatten(), torch.ones_like(found)

    def in_place(z: Tensor, part: slice, wanted: bool) -> tuple[Tensor, Tensor]:
        losses, apart = rows(z, targets[part], ones[part], wanted)
        found[part] = losses
        return losses, apart

    # No slope is wanted, which alone would have to be lifted.
    _run(hidden, weight, in_place, found.new_ones(()), scale, cap, max_logits, triton, of_hidden=False, of_weight=False)
    found = found.view(labels.shape)
    if valid is not None:
        found = found.masked_fill(~valid, 0)
    return found.double().sum(1).neg_().to(found.dtype)


@_forward.register_fake
def _(hidden, weight, labels, valid, scale, cap, max_logits, triton):  # type: ignore[no-untyped-def]  # as the op above
    return hidden.new_empty(labels.shape[:1], dtype=_wide(hidden))


@torch.library.custom_op("ar_kernels::sequence_logprob_backward", mutates_args=())
def _gradients(
    of_found: Tensor,
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    triton: bool,
    of_hidden: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor]:
    # Rows are losses, -log p, and what a chunk leaves is the slope of the loss.
    weights = of_found.to(_wide(hidden)).neg()[:, None].expand(labels.shape)
    if valid is not None:
        weights = weights.masked_fill(~valid, 0)
    raised = lift(weights.flatten(), hidden.dtype, scale)
    weights = weights.flatten() * raised
    rows, targets = _rows(triton), labels.flatten()
    found = _run(
        hidden,
        weight,
        lambda z, part, wanted: rows(z, targets[part], weights[part], wanted),
        raised,
        scale,
        cap,
        max_logits,
        triton,
        of_hidden=of_hidden,
        of_weight=of_weight,
    )
    d_hidden = found.hidden.to(hidden.dtype)
    return d_hidden.view(hidden.shape) if of_hidden else d_hidden, found.weight.to(weight.dtype)


@_gradients.register_fake
def _(of_found, hidden, weight, labels, valid, scale, cap, max_logits, triton, of_hidden, of_weight):  # type: ignore[no-untyped-def]  # as the op above
    return (
        hidden.new_empty(hidden.shape if of_hidden else (0,)),
        weight.new_empty(weight.shape if of_weight else (0,)),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    hidden, weight, labels, valid, *settings = inputs
    ctx.save_for_backward(hidden, weight, labels, valid)
    ctx.settings = settings


def _backward(ctx: Any, of_found: Tensor) -> tuple[Tensor | None, ...]:
    of_hidden, of_weight = ctx.needs_input_grad[:2]
    hidden, weight = torch.ops.ar_kernels.sequence_logprob_backward(
        of_found, *ctx.saved_tensors, *ctx.settings, of_hidden, of_weight
    )
    return (hidden if of_hidden else None, weight if of_weight else None, *(None,) * (2 + len(ctx.settings)))


_forward.register_autograd(_backward, setup_context=_setup)


def _run(
    hidden: Tensor,
    weight: Tensor,
    in_place: Callable[[Tensor, slice, bool], tuple[Tensor, Tensor]],
    raised: Tensor,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    triton: bool,
    *,
    of_hidden: bool,
    of_weight: bool,
) -> Sums:
    return run(
        hidden.flatten(0, 1),
        weight,
        in_place,
        raised=raised,
        scale=scale,
        cap=cap,
        max_logits=max_logits,
        narrow=triton,
        of_hidden=of_hidden,
        of_weight=of_weight,
    )


def _rows(triton: bool) -> Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    if not triton:
        return torch_rows.hard
    from ar_kernels.selected_cross_entropy import rows_triton

    return rows_triton.hard


def _wide(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)
