"""What keeps bits decided and balanced while a bitwise tokenizer is trained.

The released quantiser returns zeros here, so that these losses are not the published ones. They follow the paper on binary
spherical quantisation (arXiv 2406.07548, section 3.2): its entropy penalty, factorised over bits, and its commitment.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["commitment", "entropy_penalty"]


def entropy_penalty(unit: Tensor, *, sharpness: float, diversity: float) -> Tensor:
    """Mean entropy of the bits of an image, less the entropy of their mean; float32 [B], nats per bit.

    A bit is read as 1 with probability p = sigmoid(sharpness · sqrt(d) · u). A small mean of H(p) says that every bit is
    decided; a large H(mean of p) that it is 1 as often as 0. The paper takes the second mean over the batch; here it is over
    the image, so that the loss of a batch does not depend on how it is split.

    Args:
        unit: residuals of length 1, [B, d, h, w].
        sharpness: 0 makes every bit a coin.
        diversity: weight of the second entropy.
    """
    logits = unit.float().flatten(2) * (sharpness * math.sqrt(unit.shape[1]))
    undecided = _binary_entropy(logits).mean((1, 2))
    mean = torch.sigmoid(logits).mean(2).clamp(1e-6, 1 - 1e-6)
    return undecided - diversity * _binary_entropy(torch.logit(mean)).mean(1)


def commitment(unit: Tensor, codes: Tensor) -> Tensor:
    """Squared distance of residuals on the unit sphere to their (detached) codes, mean over places; float32 [B].

    Args:
        unit: [B, d, h, w].
        codes: the same shape, of length 1.
    """
    return (unit.float() - codes.detach()).square().sum(1).mean((1, 2))


def _binary_entropy(logits: Tensor) -> Tensor:
    # H(p) = softplus(x) - p x for p = sigmoid(x); even in x, and exact where one side has no mass left.
    magnitude = logits.abs()
    return F.softplus(-magnitude) + magnitude * torch.sigmoid(-magnitude)
