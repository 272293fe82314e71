"""What the op computes, in plain torch: attention of one query a row over the codebook, with an additive bias.

Source: Distilled Decoding (arXiv 2412.17153), section 3.
"""

import torch
from torch import Tensor

from ar_kernels.flow_velocity.result import FlowMean

__all__ = ["reference"]


def reference(z: Tensor, tau: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None = None) -> FlowMean:
    """Definition of `flow_mean`, in float32 or better: arguments and result as :func:`ar_kernels.flow_velocity.flow_mean`.

    The squared norm of a row is the same for all its codes and leaves the softmax, so that what remains is a product: query
    tau z, keys and values the codes, bias log p - tau^2 |c|^2 / 2.
    """
    wide = torch.promote_types(torch.promote_types(z.dtype, log_probs.dtype), codebook.dtype)
    wide = torch.promote_types(wide, torch.float32)
    z, tau, log_probs, codebook = (one.to(wide) for one in (z, tau, log_probs, codebook))
    scores = tau[:, None] * (z @ codebook.T) - tau[:, None].square() / 2 * codebook.square().sum(1)
    scores = log_probs + (scores if ids is None else scores.gather(1, ids))
    weights = scores.softmax(1)
    place = scores.argmax(1, keepdim=True)
    dense = weights if ids is None else torch.zeros_like(z @ codebook.T).scatter_add_(1, ids, weights)
    code = (place if ids is None else ids.gather(1, place))[:, 0]
    return FlowMean(dense @ codebook, code, weights.gather(1, place)[:, 0])
