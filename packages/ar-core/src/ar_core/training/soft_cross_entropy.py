"""Cross-entropy against another position's prediction, without a [positions, V] tensor."""

from collections.abc import Callable

import torch
from ar_kernels import selected_soft_cross_entropy
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..linear_head import CALLED_LOGITS, LinearHead

__all__ = ["summed_soft_cross_entropy"]


def summed_soft_cross_entropy(
    hidden: Tensor,
    student: Tensor,
    teacher: Tensor,
    weights: Tensor,
    head: Callable[[Tensor], Tensor],
    *,
    vocab_size: int,
    temperature: float = 1.0,
    max_logits: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Weighted sum over M pairs of positions of H(p_t, p_s), p = softmax(logits / tau); the teacher is a constant.

    Args:
        hidden: [B, T, C], any float dtype; of students and teachers alike.
        student: int64 [M], rows of the flattened hidden states that learn.
        teacher: int64 [M], the row that each of them is to predict like.
        weights: [M], factor of each pair.
        head: maps [n, C] to logits [n, V]; a :class:`LinearHead` runs once, and its gradients are made with the loss.
        vocab_size: V.
        temperature: tau, > 0.
        max_logits: most logits of students and teachers together held at once; None: as many as are fast on the device, or
            2^26 if the head is no matrix. More pairs than fit are taken in chunks, whose logits are recomputed in the backward
            pass if the head is no matrix.

    Returns:
        Two scalars in float32 or better: the sum of the cross-entropies, zero and still part of the graph without pairs;
        and the sum of the Kullback-Leibler divergences KL(p_t || p_s), which is smaller by the teachers' entropy, without
        gradient.
    """
    flat = hidden.flatten(0, 1)
    if isinstance(head, LinearHead):
        return selected_soft_cross_entropy(
            *head.operands(flat),
            student,
            teacher,
            weights,
            scale=head.scale / temperature,
            cap=None if head.cap is None else head.cap / temperature,
            max_logits=None if max_logits is None else max(1, max_logits // 2),
        )
    # Gathered once: a gather per chunk would make a gradient of the full hidden states per chunk.
    learning, taught = flat[student], flat.detach()[teacher]

    def chunk_sums(rows: Tensor, targets: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            known = _log_softmax(head(targets), temperature)
            wanted = known.exp()
        entropy = -(wanted * known).sum(-1)
        cross = -(wanted * _log_softmax(head(rows), temperature)).sum(-1)
        factors = factors.to(cross.dtype)
        return (factors * cross).sum(), (factors * (cross.detach() - entropy)).sum()

    size = max(1, (CALLED_LOGITS if max_logits is None else max_logits) // (2 * vocab_size))
    if len(student) <= size:
        return chunk_sums(learning, taught, weights)
    sums = [
        checkpoint(chunk_sums, *chunk, use_reentrant=False)
        for chunk in zip(learning.split(size), taught.split(size), weights.split(size), strict=True)
    ]
    cross, divergence = zip(*sums, strict=True)
    return torch.stack(cross).sum(), torch.stack(divergence).sum()


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(-1)
