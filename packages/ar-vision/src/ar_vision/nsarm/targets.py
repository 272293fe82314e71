"""What both stages learn: residuals of the HQ image, and bits along a path that begins with the residuals of M.

Source: NSARM (arXiv 2510.00820): the classes of its published code that are named here.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.infinity.self_correction import BitTargets
from ..tokenizers.bsq.bit_history import BitHistory

__all__ = ["joint_targets", "residual_targets", "running_sums"]


@torch.no_grad()
def residual_targets(features: Tensor, history: BitHistory, count: int) -> list[Tensor]:
    """Return R_k, what is left of the features before the sign of each of the first scales is taken (BitwiseSelfCorrection_forres).

    Args:
        features: F of the HQ images, [B, d, s H, s W].
        history: an empty one.
        count: m.

    Returns:
        float32 [B, d, S_k, S_k] each.
    """
    residuals = []
    for _ in range(count):
        residuals.append(history.residual(features))
        history.add(history.bits_of(residuals[-1]))
    return residuals


def joint_targets(
    features: Tensor, predicted: Sequence[Tensor], history: BitHistory, flips: Sequence[Tensor] = ()
) -> BitTargets:
    """Return inputs and labels of all scales where M's residuals replace those of the first ones (BitwiseSelfCorrection_re).

    Labels of the later scales are the bits of what is left of the features beside M's codes, so that they make good for M's errors.
    A gradient leads from all inputs to M: a code is taken for its residual, scaled to length 1 (straight-through). With the true
    residuals in the place of M's, inputs and labels are those of Infinity's own training, bit for bit.

    Args:
        features: F of the HQ images, [B, d, s H, s W], without a gradient.
        predicted: r~_k of the first m scales, [B, d, S_k, S_k] each.
        history: an empty one; holds all scales afterwards.
        flips: bits that self-correction turns, bool [B, L_k, d] each, as `bit_targets` takes them; none: no correction.
    """
    inputs, labels = [], []
    for scale in range(history.schedule.count):
        residual = predicted[scale].float() if scale < len(predicted) else history.residual(features)
        labels.append(history.bits_of(residual.detach()))
        written = labels[-1] ^ flips[scale] if scale < len(flips) else labels[-1]
        unit = F.normalize(residual, dim=1)
        # The difference is 0, so that codes stay what decoding writes; only its gradient counts.
        history.add_codes(history.codes_of(written, scale) + (unit - unit.detach()))
        if scale + 1 < history.schedule.count:
            inputs.append(history.next_input())
    return BitTargets(inputs, labels)


def running_sums(residuals: Sequence[Tensor], history: BitHistory) -> list[Tensor]:
    """Return the sums of residuals up to each scale, at the last scale's size, [B, d, s H, s W]: what the consistency loss compares."""
    sums: list[Tensor] = []
    for residual in residuals:
        enlarged = history.enlarged(residual)
        sums.append(sums[-1] + enlarged if sums else enlarged)
    return sums
