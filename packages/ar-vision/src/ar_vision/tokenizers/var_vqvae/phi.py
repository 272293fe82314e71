"""The convolutions that refine upsampled codes, and which of them a scale uses.

Source: VAR (arXiv 2404.02905), algorithms 1 and 2, and its published code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...scales import ScaleSchedule

__all__ = ["Phi", "phi_index", "refine"]


class Phi(nn.Conv2d):
    """phi(u) = (1 - ratio) u + ratio conv3x3(u).

    Args:
        channels: Cv.
        ratio: part of the convolution, 0.5 in VAR.
    """

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.ratio = ratio

    def forward(self, u: Tensor) -> Tensor:
        """Upsampled codes `[B, Cv, H, W]` to the same shape."""
        u = u.to(self.weight.dtype)
        return u * (1 - self.ratio) + super().forward(u) * self.ratio


def phi_index(scale: int, count: int, num_phis: int) -> int:
    """Return which phi refines a scale: s(k), the index of the tick nearest to k/(K-1), the first of equally near ones.

    With K = 10 and four phis, two choices are near ties that the rounding of float64 decides, and published weights were
    trained with its outcome. All arithmetic is therefore that of Python floats, in the order of the published code.

    Args:
        scale: k.
        count: K; the scale of a schedule of one is its last.
        num_phis: K_phi; ticks lie evenly between 1/(3 K_phi) and its mirror if there are four, else from 1/(2 K_phi) on.
    """
    if num_phis == 1:
        return 0
    place = scale / (count - 1) if count > 1 else 1.0
    first = 1 / (3 if num_phis == 4 else 2) / num_phis
    step = ((1 - first) - first) / (num_phis - 1)
    ticks = [index * step + first for index in range(num_phis - 1)] + [1 - first]
    return min(range(num_phis), key=lambda index: abs(ticks[index] - place))


def refine(phis: nn.ModuleList, vectors: Tensor, scale: int, schedule: ScaleSchedule) -> Tensor:
    """Return what code vectors, or mixtures of them, add to the features: phi(up(u)).

    Args:
        phis: K_phi of them.
        vectors: u, `[B, Cv, h_k, w_k]`.
        scale: k.
        schedule: K scales.

    Returns:
        `[B, Cv, H, W]`.
    """
    if scale < schedule.count - 1:
        vectors = F.interpolate(vectors, size=schedule.sizes[-1], mode="bicubic")
    phi = phis[phi_index(scale, schedule.count, len(phis))]
    # What a scale adds decides the codes of all later ones: it must not depend on whether autocast is on.
    with torch.autocast(vectors.device.type, enabled=False):
        refined: Tensor = phi(vectors)
    return refined
