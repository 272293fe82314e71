"""What the op computes, in plain torch with every logit at once; differentiable by autograd.

Source: ours; the sum by its definition.
"""

import torch
from torch import Tensor

from ar_kernels.selected_cross_entropy.reference import logits

__all__ = ["reference"]


def reference(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
) -> Tensor:
    """sum_i log softmax(z_bi)[label_bi] over the valid i of each b.

    Arguments and result as :func:`ar_kernels.sequence_logprob.sequence_logprob`.
    """
    log_p = logits(hidden, weight, scale=scale, cap=cap).log_softmax(-1)
    found = log_p.gather(-1, labels[..., None])[..., 0]
    if valid is not None:
        found = torch.where(valid, found, 0)
    return found.double().sum(1).to(log_p.dtype)
