"""Cross-entropy where every rank holds the head's rows of some ids.

Source: vocabulary-parallel cross-entropy of Megatron-LM (arXiv 1909.08053, section 3).
"""

import torch
import torch.distributed as dist
from torch import Tensor

from ar_kernels.selected_cross_entropy import rows as torch_rows
from ar_kernels.selected_cross_entropy.chunks import default_logits, lift, run
from ar_kernels.selected_cross_entropy.gradients import register, room
from ar_kernels.selected_cross_entropy.inputs import check, check_ids, check_labels, factors, gathered

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

    All ranks call it with equal hidden states, rows, labels and weights, each with its own part of the head. A call costs an
    all-reduce of three numbers, for which the host waits; each chunk three more, of one, one and two numbers a row, in
    float32 or better; and the gradient of the hidden states one of all selected rows, [N, C].

    Args:
        hidden: [T, C], equal on all ranks.
        weight: [V_r, C], rows `first` to `first + V_r` of the head; ranks may hold different numbers, none zero.
        rows: int64 [N].
        labels: int64 [N], ids of the whole head. On CUDA nobody looks: one that no rank has makes loss and gradients NaN.
        weights: [N]; None: 1.
        first: the id of this rank's first row.
        group: of the ranks; None: all.
        scale: see `selected_cross_entropy`, as the others.
        cap: bound of the logits.
        max_logits: most logits that a rank holds at once; of ranks that differ, the smallest holds.

    Returns:
        Scalar, equal on all ranks. The gradient of `hidden` is the whole one on every rank, that of `weight` this rank's.

    Raises:
        ValueError: as `selected_cross_entropy`, or there is no group.
    """
    check(hidden, weight, rows, weights, scale, cap, max_logits)
    check_labels(labels, rows)
    shared = dist.group.WORLD if group is None else group
    if shared is None:
        raise ValueError("there are no processes to share a head: call init_process_group, or selected_cross_entropy")
    grad = torch.is_grad_enabled()
    out: Tensor = torch.ops.ar_kernels.sharded_selected_cross_entropy(
        hidden,
        weight,
        rows,
        labels,
        factors(weights, rows, hidden, weight),
        first,
        shared.group_name,
        scale,
        cap,
        max_logits,
        grad and hidden.requires_grad,
        grad and weight.requires_grad,
    )[0]
    return out


@torch.library.custom_op("ar_kernels::sharded_selected_cross_entropy", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor,
    first: int,
    group_name: str,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    of_hidden: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    check_ids(rows, len(hidden), "rows")
    # Ops take no process groups, so the group travels as its name.
    name = dist.distributed_c10d.GroupName(group_name)
    group = dist.distributed_c10d._resolve_process_group(name)  # type: ignore[attr-defined]  # torch's ops use it, too
    operations = {"max": dist.ReduceOp.MAX, "sum": dist.ReduceOp.SUM}

    def reduce(tensor: Tensor, how: str) -> Tensor:
        dist.all_reduce(tensor, operations[how], group=group)
        return tensor

    # Chunks of one size on all ranks, since each is a round of messages.
    most = default_logits(hidden.device)
    own = len(weight), first + len(weight), -(most if max_logits is None else min(max_logits, most))
    widest, vocabulary, fewest = reduce(torch.tensor(own, device=hidden.device), "max").tolist()
    check_ids(labels, vocabulary, "labels")
    size = max(1, -fewest // widest)
    raised = lift(weights, hidden.dtype, scale)
    weights = weights * raised
    found = run(
        gathered(hidden, rows),
        weight,
        lambda z, part, wanted: torch_rows.hard(z, labels[part], weights[part], wanted, first=first, reduce=reduce),
        raised=raised,
        scale=scale,
        cap=cap,
        max_logits=size * len(weight),
        narrow=False,
        of_hidden=of_hidden,
        of_weight=of_weight,
    )
    if of_hidden:
        reduce(found.hidden, "sum")
    return found.loss, found.hidden, found.weight


@_forward.register_fake
def _(hidden, weight, rows, labels, weights, first, group_name, scale, cap, max_logits, of_hidden, of_weight):  # type: ignore[no-untyped-def]  # as the op above
    return room(hidden, weight, rows, weights, of_hidden, of_weight)


register(_forward)
