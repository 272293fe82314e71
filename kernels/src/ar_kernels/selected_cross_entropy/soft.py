"""Cross-entropy against the predictions of other rows.

Source: distillation (arXiv 1503.02531).
"""

from typing import Literal

import torch
from torch import Tensor

from ar_kernels.implementation import use_triton
from ar_kernels.selected_cross_entropy import rows as torch_rows
from ar_kernels.selected_cross_entropy.chunks import head_logits, lift, run
from ar_kernels.selected_cross_entropy.gradients import register, room
from ar_kernels.selected_cross_entropy.inputs import check, check_ids, check_labels, factors, gathered

__all__ = ["selected_soft_cross_entropy"]


def selected_soft_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    teachers: Tensor,
    weights: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
    max_logits: int | None = None,
    implementation: Literal["auto", "torch", "triton"] = "auto",
) -> tuple[Tensor, Tensor]:
    """Sum over pairs of rows of w H(p_t, p), p = softmax(z) of the one that learns, p_t of the one that teaches.

    The teacher's prediction is a constant, made by the same head; z as in `selected_cross_entropy`, whose other arguments
    and limits hold here too.

    Args:
        hidden: [T, C].
        weight: [V, C].
        rows: int64 [N], those that learn.
        teachers: int64 [N], the row that each of them is to predict like.
        weights: [N]; None: 1.
        scale: factor of the logits of both, 1 / tau.
        cap: bound of the logits of both.
        max_logits: most logits of one side held at once.
        implementation: `auto`, `torch` or `triton`.

    Returns:
        Scalars in float32 or better: the sum of the cross-entropies, and that of the Kullback-Leibler divergences
        KL(p_t || p), which is smaller by the teachers' entropy and has no gradient.

    Raises:
        ValueError: as `selected_cross_entropy`.
    """
    check(hidden, weight, rows, weights, scale, cap, max_logits)
    check_labels(teachers, rows, "teachers")
    grad = torch.is_grad_enabled()
    loss, divergence, *_ = torch.ops.ar_kernels.selected_soft_cross_entropy(
        hidden,
        weight,
        rows,
        teachers,
        factors(weights, rows, hidden, weight),
        scale,
        cap,
        max_logits,
        use_triton(implementation, hidden),
        grad and hidden.requires_grad,
        grad and weight.requires_grad,
    )
    return loss, divergence


@torch.library.custom_op("ar_kernels::selected_soft_cross_entropy", mutates_args=())
def _forward(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    teachers: Tensor,
    weights: Tensor,
    scale: float,
    cap: float | None,
    max_logits: int | None,
    triton: bool,
    of_hidden: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_ids(rows, len(hidden), "rows")
    check_ids(teachers, len(hidden), "teachers")
    if triton:
        from ar_kernels.selected_cross_entropy import rows_triton

        function = rows_triton.soft
    else:
        function = torch_rows.soft

    raised = lift(weights, hidden.dtype, scale)
    weights = weights * raised

    def in_place(z: Tensor, part: slice, wanted: bool) -> tuple[Tensor, Tensor]:
        known = head_logits(gathered(hidden, teachers[part]), weight, scale, cap, narrow=triton)
        return function(z, known, weights[part], wanted)

    found = run(
        gathered(hidden, rows),
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
    return found.loss, found.divergence, found.hidden, found.weight


@_forward.register_fake
def _(hidden, weight, rows, teachers, weights, scale, cap, max_logits, triton, of_hidden, of_weight):  # type: ignore[no-untyped-def]  # as the op above
    loss, d_hidden, d_weight = room(hidden, weight, rows, weights, of_hidden, of_weight)
    return loss, torch.empty_like(loss), d_hidden, d_weight


register(_forward)
