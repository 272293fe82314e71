"""The losses of `rows` as Triton kernels: one program a row, two passes over its logits.

The first pass finds the normaliser by online softmax, a running maximum and a sum that is rescaled when the maximum moves;
the second writes the gradient over the logits, in their dtype. Soft targets read student and teacher in both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ar_kernels.launching import start

__all__ = ["hard", "soft"]

TILE = 2048


@triton.jit
def _normaliser(z, stride, row, vocabulary, TILE: tl.constexpr):
    offsets = tl.arange(0, TILE)
    top = -float("inf")
    total = 0.0
    for first in range(0, vocabulary, TILE):
        ids = first + offsets
        tile = tl.load(z + row * stride + ids, mask=ids < vocabulary, other=-float("inf")).to(tl.float32)
        above = tl.maximum(top, tl.max(tile, axis=0))
        total = total * tl.exp(top - above) + tl.sum(tl.exp(tile - above), axis=0)
        top = above
    return top + tl.log(total)


@triton.jit
def _hard_kernel(z, labels, weights, loss, stride, vocabulary, WANTED: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, TILE)
    label = tl.load(labels + row)
    known = (label >= 0) & (label < vocabulary)
    # Nobody looked at labels that are on a device. One that is no id is not read, and leaves neither loss nor slope.
    factor = tl.where(known, tl.load(weights + row), float("nan"))
    normaliser = _normaliser(z, stride, row, vocabulary, TILE)
    of_label = tl.load(z + row * stride + label, mask=known, other=0.0).to(tl.float32)
    tl.store(loss + row, factor * (normaliser - of_label))
    if WANTED:
        # Every thread has read the label's logit before any thread writes over it.
        tl.debug_barrier()
        for first in range(0, vocabulary, TILE):
            ids = first + offsets
            inside = ids < vocabulary
            tile = tl.load(z + row * stride + ids, mask=inside, other=-float("inf")).to(tl.float32)
            slope = tl.exp(tile - normaliser) - tl.where(ids == label, 1.0, 0.0)
            tl.store(z + row * stride + ids, factor * slope, mask=inside)


@triton.jit
def _soft_kernel(
    z, teacher, weights, cross, divergence, stride, teacher_stride, vocabulary, WANTED: tl.constexpr, TILE: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, TILE)
    factor = tl.load(weights + row)
    own = _normaliser(z, stride, row, vocabulary, TILE)
    other = _normaliser(teacher, teacher_stride, row, vocabulary, TILE)
    crossed = 0.0
    entropy = 0.0
    for first in range(0, vocabulary, TILE):
        ids = first + offsets
        inside = ids < vocabulary
        log_p = tl.load(z + row * stride + ids, mask=inside, other=0.0).to(tl.float32) - own
        log_t = tl.load(teacher + row * teacher_stride + ids, mask=inside, other=0.0).to(tl.float32) - other
        p_t = tl.where(inside, tl.exp(log_t), 0.0)
        crossed -= tl.sum(p_t * log_p, axis=0)
        entropy -= tl.sum(p_t * log_t, axis=0)
        if WANTED:
            tl.store(z + row * stride + ids, factor * (tl.exp(log_p) - p_t), mask=inside)
    tl.store(cross + row, factor * crossed)
    tl.store(divergence + row, factor * (crossed - entropy))


def hard(z: Tensor, labels: Tensor, weights: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """As :func:`ar_kernels.selected_cross_entropy.rows.hard`, of all columns."""
    loss = torch.empty_like(weights)
    if len(z):
        start(
            _hard_kernel, (len(z),), z, labels, weights, loss, z.stride(0), z.shape[1], WANTED=wanted, TILE=TILE
        )  # fmt: skip
    return loss, torch.zeros_like(loss)


def soft(z: Tensor, teacher: Tensor, weights: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """As :func:`ar_kernels.selected_cross_entropy.rows.soft`, of all columns."""
    cross, divergence = torch.empty_like(weights), torch.empty_like(weights)
    if len(z):
        start(
            _soft_kernel, (len(z),), z, teacher, weights, cross, divergence, z.stride(0), teacher.stride(0), z.shape[1], WANTED=wanted, TILE=TILE
        )  # fmt: skip
    return cross, divergence
