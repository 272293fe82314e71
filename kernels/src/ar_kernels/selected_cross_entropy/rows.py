"""Losses of rows of logits in torch, which leave the gradient where the logits were.

Source: ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Reduce", "hard", "soft"]

Reduce = Callable[[Tensor, str], Tensor]
"""Combines a tensor of every shard of the vocabulary, in place: `"max"` or `"sum"`."""


def hard(
    z: Tensor, labels: Tensor, weights: Tensor, wanted: bool, *, first: int = 0, reduce: Reduce | None = None
) -> tuple[Tensor, Tensor]:
    """w (log sum exp z - z_label), leaving w (softmax(z) - 1[label]); NaN, both of them, for a label that has no column.

    Args:
        z: [n, V], written to.
        labels: int64 [n].
        weights: [n], dtype of z.
        wanted: whether the gradient is.
        first: the id that z's first column has.
        reduce: where other columns are elsewhere.

    Returns:
        [n] and, since a label has no entropy, zeros [n].
    """
    log_p = _log_softmax(z, reduce)
    places = labels - first
    inside = (places >= 0) & (places < z.shape[1])
    places = places.clamp(0, z.shape[1] - 1)[:, None]
    # What each row found of its label, and in how many columns: elsewhere than here, but once.
    found = torch.where(inside[:, None], log_p.gather(1, places), 0)
    found = torch.cat([found, inside[:, None].to(z.dtype)], 1)
    if reduce is not None:
        found = reduce(found, "sum")
    weights = weights.masked_fill(found[:, 1] == 0, torch.nan)
    if wanted:
        z.exp_()
        z.scatter_add_(1, places, -inside[:, None].to(z.dtype))
        z.mul_(weights[:, None])
    return -found[:, 0] * weights, torch.zeros_like(weights)


def soft(
    z: Tensor, teacher: Tensor, weights: Tensor, wanted: bool, *, reduce: Reduce | None = None
) -> tuple[Tensor, Tensor]:
    """w H(p_t, p) and w KL(p_t || p), leaving w (p - p_t).

    Args:
        z: [n, V], written to.
        teacher: logits [n, V], written to.
        weights: [n], dtype of z.
        wanted: whether the gradient is.
        reduce: where other columns are elsewhere.

    Returns:
        [n] each, dtype of z.
    """
    log_p, log_t = _log_softmax(z, reduce), _log_softmax(teacher, reduce)
    p_t = log_t.exp()
    # Row by row as products of vectors, which need no [n, V] tensor of products. A probability that is 0 has a finite
    # logarithm here, as long as no logit is infinite.
    both = torch.stack([_dot(p_t, log_p), _dot(p_t, log_t)])
    if reduce is not None:
        both = reduce(both, "sum")
    if wanted:
        z.exp_().sub_(p_t).mul_(weights[:, None])
    return -both[0] * weights, (both[1] - both[0]) * weights


def _log_softmax(z: Tensor, reduce: Reduce | None) -> Tensor:
    """Over the last axis, in the place of z."""
    if reduce is None:
        # Of rows that lie in one piece, the CPU kernel reads an element for the last time before it writes it.
        return torch.log_softmax(z, -1, out=z) if z.device.type == "cpu" else z.copy_(z.log_softmax(-1))
    top = reduce(z.amax(-1, keepdim=True), "max")
    total = reduce((z - top).exp_().sum(-1, keepdim=True), "sum")
    return z.sub_(top + total.log())


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(a[:, None], b[:, :, None])[:, 0, 0]
