"""Rows in pieces whose scores stay in the cache.

Source: ours.
"""

import torch
from torch import Tensor

__all__ = ["in_pieces"]

PIECE = 2**17
"""Scores that are held, half a MiB in float32."""
FEWEST_ROWS = 8
"""Rows of a piece: with fewer, products are narrow."""


def in_pieces(
    z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [N, C], code int64 [N] and weight [N]; operands of one dtype as :func:`ar_kernels.flow_velocity.flow_mean`
    takes them.
    """
    rows, vocabulary = len(z), len(codebook)
    # One more column takes the norms of the codes into the product.
    queries = torch.cat([tau[:, None] * z, -tau[:, None].square() / 2], dim=1)
    keys = torch.cat([codebook, codebook.square().sum(1, keepdim=True)], dim=1).T.contiguous()
    mean = torch.empty_like(z)
    code = torch.empty(rows, dtype=torch.int64, device=z.device)
    weight = torch.empty_like(tau)
    size = max(FEWEST_ROWS, PIECE // max(vocabulary, log_probs.shape[1]))
    for first in range(0, rows, size):
        part = slice(first, first + size)
        if ids is None:
            scores = torch.addmm(log_probs[part], queries[part], keys)
        else:
            scores = (queries[part] @ keys).gather(1, ids[part]).add_(log_probs[part])
        place = scores.argmax(1, keepdim=True)
        weights = scores.softmax(1)
        weight[part] = weights.gather(1, place)[:, 0]
        code[part] = (place if ids is None else ids[part].gather(1, place))[:, 0]
        if ids is not None:
            weights = weights.new_zeros(len(weights), vocabulary).scatter_add_(1, ids[part], weights)
        torch.mm(weights, codebook, out=mean[part])
    return mean, code, weight
