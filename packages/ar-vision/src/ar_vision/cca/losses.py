"""The losses over pairs, from log-ratios alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import CcaConfig

__all__ = ["pair_losses"]


def pair_losses(real: Tensor, other: Tensor, positive: Tensor, config: CcaConfig) -> Tensor:
    """Loss of each pair, before its coefficient.

    With d+ and d- the log-ratios log p(x|c) - log p_start(x|c) of a sample under its own class and under the other one, w = 1 and
    s = 1 where the second is a positive too, else w = λ and s = -1:

    - cca: -log σ(β d+) - w log σ(s β d-) (arXiv 2410.09347, section 3.2), also for u = 0;
    - dpo: -log σ(β (d+ - d-));
    - unlearning: -d+ - w s d-.

    Args:
        real: d+, float32 or better [B].
        other: d- [B].
        positive: bool [B], whether the second class is right for the sample, being its own or the null class.
        config: loss, β and λ.

    Returns:
        [B].
    """
    if config.loss == "dpo":
        return -F.logsigmoid(config.beta * (real - other))
    weight = torch.where(positive, real.new_ones(()), real.new_full((), config.negative_weight))
    signed = torch.where(positive, other, -other)
    if config.loss == "unlearning":
        return -real - weight * signed
    return -F.logsigmoid(config.beta * real) - weight * F.logsigmoid(config.beta * signed)
