"""What the op computes, in plain torch; differentiable by autograd.

Source: ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ar_kernels.confidence.result import Confidence

__all__ = ["reference"]


def reference(logits: Tensor, *, temperature: float = 1.0, banned_ids: Sequence[int] = ()) -> Confidence:
    """Definition of `confidence`, in float32 or better: arguments and results as :func:`ar_kernels.confidence.confidence`.

    With z = logits / temperature and p = softmax(z): entropy = -sum(p log p).
    """
    z = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if banned_ids:
        z = z.index_fill(1, torch.tensor(list(banned_ids), device=z.device), -torch.inf)
    log_p = z.log_softmax(dim=1)
    p = log_p.exp()
    top = p.topk(min(2, p.shape[1]), dim=1).values
    runner_up = top[:, 1] if top.shape[1] == 2 else torch.zeros_like(top[:, 0])
    # Banned ids have probability 0 and add nothing; 0 times minus infinity would.
    entropy = -(p * log_p.masked_fill(p == 0, 0)).sum(dim=1)
    return Confidence(z.argmax(dim=1), top[:, 0], entropy, top[:, 0] - runner_up)
