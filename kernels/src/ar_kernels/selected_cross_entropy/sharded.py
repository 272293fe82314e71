"""Cross-entropy where every rank holds the head's rows of some ids."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ar_kernels.selected_cross_entropy import rows as torch_rows
from ar_kernels.selected_cross_entropy.chunks import default_logits, run
from ar_kernels.selected_cross_entropy.inputs import check, check_ids, factors, gathered, scattered

__all__ = ["sharded_selected_cross_entropy"]


def sharded_selected_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    first: int,
    group: dist.ProcessGroup | None = None,
    scale: float = 1.0,
    cap: float | None = None,
    max_logits: int | None = None,
) -> Tensor:
    """`selected_cross_entropy` with a head that is split by ids over a group of processes.

    All ranks call it with equal hidden states, rows, labels and weights, each with its own part of the head. A chunk costs
    three all-reduces of a number a row; the gradient of the hidden states one more, of all selected rows.

    Args:
        hidden: [T, C], equal on all ranks.
        weight: [V_r, C], rows `first` to `first + V_r` of the head; ranks may hold different numbers, none zero.
        rows: int64 [N].
        labels: int64 [N], ids of the whole head.
        weights: [N]; None: 1.
        first: the id of this rank's first row.
        group: of the ranks; None: all.
        scale: see `selected_cross_entropy`, as the others.
        cap: bound of the logits.
        max_logits: of this rank.

    Returns:
        Scalar, equal on all ranks. The gradient of `hidden` is the whole one on every rank, that of `weight` this rank's.

    Raises:
        ValueError: as `selected_cross_entropy`.
    """
    check(hidden, weight, rows, weights, scale, cap, max_logits)
    check_ids(rows, len(hidden), "rows")
    return _Sharded.apply(
        hidden, weight, rows, labels, factors(weights, rows, hidden, weight), first, group, scale, cap, max_logits
    )


class _Sharded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden, weight, rows, labels, weights, first, group, scale, cap, max_logits) -> Tensor:
        operations = {"max": dist.ReduceOp.MAX, "sum": dist.ReduceOp.SUM}

        def reduce(tensor: Tensor, how: str) -> Tensor:
            dist.all_reduce(tensor, operations[how], group=group)
            return tensor

        # Chunks of one size on all ranks, since each is a round of messages.
        widest = reduce(torch.tensor(len(weight), device=hidden.device), "max")
        most = default_logits(hidden.device)
        size = max(1, (most if max_logits is None else min(max_logits, most)) // int(widest))
        ctx.of = ctx.needs_input_grad[:2]
        found = run(
            gathered(hidden, rows),
            weight,
            lambda z, part, wanted: torch_rows.hard(z, labels[part], weights[part], wanted, first=first, reduce=reduce),
            scale=scale,
            cap=cap,
            max_logits=size * len(weight),
            narrow=False,
            of_hidden=ctx.of[0],
            of_weight=ctx.of[1],
        )
        if ctx.of[0]:
            reduce(found.hidden, "sum")
        ctx.save_for_backward(rows, found.hidden, found.weight)
        ctx.shape, ctx.dtype = hidden.shape, hidden.dtype
        return found.loss

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        rows, d_hidden, d_weight = ctx.saved_tensors
        return (*scattered(of_loss, rows, d_hidden, d_weight, ctx.shape, ctx.dtype, ctx.of), *(None,) * 8)
