"""The histogram relation loss: a codebook's similarities are distributed as a teacher's are (arXiv 2511.14184, equations 6 and 7).

Letters as in `.histogram`; P_s of the codebook (student), P_t of the teacher.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from ar_core.errors import DataError
from torch import Tensor
from torch.autograd.function import once_differentiable

from .histogram import (
    Evaluation,
    cell_of,
    centres,
    fine_cells,
    is_exact,
    log_histogram,
    log_kernel,
    log_profile,
    tiles,
    upper,
)
from .histogram_config import HistogramConfig

__all__ = ["Direction", "divergence", "relation_loss"]

Direction = Literal["teacher_student", "student_teacher"]
"""KL(P_t || P_s), as published, or KL(P_s || P_t)."""


def relation_loss(
    codes: Tensor,
    teacher: Tensor,
    config: HistogramConfig,
    *,
    direction: Direction = "teacher_student",
    evaluation: Evaluation = "auto",
    tile: int = 256,
) -> Tensor:
    """Return the divergence of the histogram of a codebook's pairwise cosines from a teacher's.

    The paper writes KL(log P_s || sg[P_t]), the argument order of PyTorch's ``kl_div``: sum_k P_t,k (log P_t,k - log P_s,k).
    Forward and backward go through the pairs in pieces; the gradient is that of autograd over all pairs (of the exact histogram,
    also where the value came through fine cells), without a tensor of all pairs. Codes that no image uses take part.

    Args:
        codes: `[n, d]`, raw: they are brought to unit length here, so that the gradient is orthogonal to each of them. A code of
            zeros has no direction and gets no gradient.
        teacher: log P_t, `[N]`, as `.histogram.log_profile` gives it; no gradient.
        config: bins of both.
        direction: which of the two is the reference.
        evaluation: see `GlotokConfig.evaluation`.
        tile: codes on a side of a piece.

    Returns:
        Scalar, float64, at least 0 but for rounding. It can be differentiated once.

    Raises:
        DataError: the teacher has another number of bins; codes are too few or no numbers.
    """
    if teacher.shape != (config.bins,):
        raise DataError(
            f"the teacher's histogram has the shape {list(teacher.shape)} and the loss {config.bins} bins: set "
            "method.glotok.histogram.bins to those of the teacher"
        )
    target = teacher.detach().to(codes.device, torch.float64)
    out: Tensor = _RelationLoss.apply(codes, target, config, direction, evaluation, tile)
    return out


def divergence(student: Tensor, teacher: Tensor, direction: Direction = "teacher_student") -> Tensor:
    """Return KL(P_t || P_s), or KL(P_s || P_t), a scalar, of the log profiles of the student `[N]` and the teacher `[N]`."""
    reference, other = (teacher, student) if direction == "teacher_student" else (student, teacher)
    return (reference.exp() * (reference - other)).sum()


class _RelationLoss(torch.autograd.Function):
    """Two passes over the pairs: the first finds h, the second weighs every pair with what its similarity changes."""

    @staticmethod
    def forward(
        ctx: Any,
        codes: Tensor,
        teacher: Tensor,
        config: HistogramConfig,
        direction: Direction,
        evaluation: Evaluation,
        tile: int,
    ) -> Tensor:
        log_h = log_histogram(codes.detach(), config, evaluation=evaluation, tile=tile)
        student = log_profile(log_h)
        loss = divergence(student, teacher, direction)
        # h_k dL/dh_k, which is bounded where dL/dh_k is not.
        if direction == "teacher_student":
            change = student.exp() - teacher.exp()
        else:
            change = student.exp() * (student - teacher - loss)
        ctx.save_for_backward(codes, log_h, change)
        ctx.settings = config, is_exact(evaluation, len(codes)), tile
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        codes, log_h, change = ctx.saved_tensors
        config, exact, tile = ctx.settings
        wide = codes.to(torch.promote_types(codes.dtype, torch.float32))
        lengths = wide.norm(dim=-1, keepdim=True)
        units = F.normalize(wide, dim=-1)
        middle = centres(config, codes.device)
        table = None if exact else _slopes(fine_cells(config, codes.device), middle, log_h, change, config.sharpness)
        gathered = torch.zeros_like(units)
        for rows, columns, cosines in tiles(units, tile):
            if table is None:
                slopes = _slopes(cosines.double(), middle, log_h, change, config.sharpness)
            else:
                place, share = cell_of(cosines, len(table))
                slopes = torch.lerp(table[place], table[place + 1], share)
            slopes = slopes.to(units.dtype)
            if rows == columns:
                slopes = slopes * upper(cosines, include_self=config.include_self)
            gathered[rows] += slopes @ units[columns]
            gathered[columns] += slopes.T @ units[rows]
        across = gathered - (gathered * units).sum(-1, keepdim=True) * units
        found = torch.where(lengths > 0, across / lengths, 0.0) * grad
        return found.to(codes.dtype), None, None, None, None, None


def _slopes(places: Tensor, middle: Tensor, log_h: Tensor, change: Tensor, sharpness: float) -> Tensor:
    """phi(D) = sum_k dL/dh_k d/dD exp(-alpha (D - B_k)²) of similarities `[...]`, float64 of the same shape."""
    shares = (log_kernel(places, middle, sharpness) - log_h).exp()
    return (change * shares * (places[..., None] - middle)).sum(-1) * (-2 * sharpness)
