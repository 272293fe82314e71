"""What the op computes, in plain torch with every logit at once; differentiable by autograd.

Source: the losses by their definitions; caps of logits as in Gemma 2 (arXiv 2408.00118).
"""

import torch
from torch import Tensor

__all__ = ["hard", "logits", "soft"]


def logits(hidden: Tensor, weight: Tensor, *, scale: float = 1.0, cap: float | None = None) -> Tensor:
    """z = cap tanh(scale h W^T / cap), float32 or better; without a cap z = scale h W^T.

    Args:
        hidden: [N, C].
        weight: [V, C].
        scale: factor, such as an inverse temperature.
        cap: bound of |z|.

    Returns:
        [N, V]; the product itself is in the dtype of the inputs, as a model's head computes it.
    """
    z = hidden @ weight.T
    z = z.to(torch.promote_types(z.dtype, torch.float32)) * scale
    return z if cap is None else torch.tanh(z / cap) * cap


def hard(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
) -> Tensor:
    """sum_i w_i (log sum_v exp z_iv - z_i,label_i), z of the selected rows.

    Arguments and result as :func:`ar_kernels.selected_cross_entropy.selected_cross_entropy`.
    """
    log_p = logits(hidden[rows], weight, scale=scale, cap=cap).log_softmax(-1)
    found = -log_p.gather(1, labels[:, None])[:, 0]
    return (found if weights is None else found * weights.to(found.dtype)).sum()


def soft(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    teachers: Tensor,
    weights: Tensor | None = None,
    *,
    scale: float = 1.0,
    cap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """sum_i w_i H(p_t, p_s) and sum_i w_i KL(p_t || p_s), the teacher a constant.

    Arguments and results as :func:`ar_kernels.selected_cross_entropy.selected_soft_cross_entropy`.
    """
    log_p = logits(hidden[rows], weight, scale=scale, cap=cap).log_softmax(-1)
    with torch.no_grad():
        log_t = logits(hidden[teachers], weight, scale=scale, cap=cap).log_softmax(-1)
        entropy = -(log_t.exp() * log_t).sum(-1)
    cross = -(log_t.exp() * log_p).sum(-1)
    factors = torch.ones_like(cross) if weights is None else weights.to(cross.dtype)
    return (factors * cross).sum(), (factors * (cross.detach() - entropy)).sum()
