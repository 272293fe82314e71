"""Cross-entropy against labels.

Source: ours; the loss by its definition.
"""

from typing import Literal

import torch
from torch import Tensor

from ar_kernels.implementation import use_triton
from ar_kernels.selected_cross_entropy import rows as torch_rows
from ar_kernels.selected_cross_entropy.chunks import lift, run
from ar_kernels.selected_cross_entropy.gradients import register, room
from ar_kernels.selected_cross_entropy.inputs import check, check_ids, check_labels, factors, gathered

__all__ = ["selected_cross_entropy"]


def selected_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
    max_logits: int | None = None,
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> Tensor:
    """Sum over selected rows of -log softmax(z)[label], each times its weight, z = cap tanh(scale h W^T / cap).

    Exact, with gradients for `hidden` and `weight`; weights are constants. Gradients are made in the forward pass, so that
    the head runs once and no more than `max_logits` logits are held. The sums of repeated rows have a fixed order.

    Args:
        hidden: [T, C], any float dtype.
        weight: [V, C], of the head, in the same dtype.
        rows: int64 [N], of `hidden`; any order, repeats allowed.
        labels: int64 [N] in [0, V). On CUDA nobody looks: one outside makes loss and gradients NaN.
        weights: [N], factor of each row; None: 1.
        scale: factor of the logits, not 0.
        cap: bound of the logits; None: none.
        max_logits: most logits held at once, though never less than a row's, and never more than are fast: 2^23 on a CPU,
            2^28 elsewhere.
        implementation: `auto` takes Triton on CUDA and torch elsewhere; both chunk.

    Returns:
        Scalar, float32 (float64 for float64 input); 0, and still part of the graph, for N = 0.

    Raises:
        ValueError: shapes or dtypes do not fit, or a setting is out of range. Ids are checked on a CPU only.

    Example:
        >>> h, w = torch.eye(2), torch.eye(3, 2)
        >>> selected_cross_entropy(h, w, torch.tensor([0]), torch.tensor([0]))
        tensor(0.5514)
    """
    check(hidden, weight, rows, weights, scale, cap, max_logits)
    check_labels(labels, rows)
    grad = torch.is_grad_enabled()
    out: Tensor = torch.ops.ar_kernels.selected_cross_entropy(
        hidden,
        weight,
        rows,
        labels,
        factors(weights, rows, hidden, weight),
        scale,
        cap,
        max_logits,
        use_triton(implementation, hidden),
        grad and hidden.requires_grad,
        grad and weight.requires_grad,
    )[0]
    return out


@torch.library.custom_op("ar_kernels::selected_cross_entropy", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    triton: bool,
    of_hidden: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    check_ids(rows, len(hidden), "rows")
    check_ids(labels, len(weight), "labels")
    if triton:
        from ar_kernels.selected_cross_entropy import rows_triton

        function = rows_triton.hard
    else:
        function = torch_rows.hard
    raised = lift(weights, hidden.dtype, scale)
    weights = weights * raised
    found = run(
        gathered(hidden, rows),
        weight,
        lambda z, part, wanted: function(z, labels[part], weights[part], wanted),
        raised=raised,
        scale=scale,
        cap=cap,
        max_logits=max_logits,
        narrow=triton,
        of_hidden=of_hidden,
        of_weight=of_weight,
    )
    return found.loss, found.hidden, found.weight


@_forward.register_fake
def _(hidden, weight, rows, labels, weights, scale, cap, max_logits, triton, of_hidden, of_weight):  # type: ignore[no-untyped-def]  # as the op above
    return room(hidden, weight, rows, weights, of_hidden, of_weight)


register(_forward)
