"""Solving dz/dtau = D(z, tau) from z = noise until a code has all the weight.

N draws, V codes, Cv dimensions. In z = x / (1 - s), tau = s / (1 - s) the exponential step x' = D + (x - D)(1 - s')/(1 - s) is
z' = z + (tau' - tau) D: Euler's, whose error is that of D alone, with no stiff part. Solvers of higher order are used as they are.

Source: ours, for the differential equation of Distilled Decoding (arXiv 2412.17153), section 3.
"""

from typing import NamedTuple

import torch
from ar_kernels import FlowMean, flow_mean
from torch import Tensor

__all__ = ["Solution", "adaptive", "fixed_steps"]

STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""Coefficients of Dormand and Prince's pair (1980); the last row is the solution of order 5."""
TIMES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
DIFFERENCE = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Order 5 less order 4."""

GROWTH = (0.2, 4.0)
"""By what factor a step may differ from the one before."""
MOST_STEPS = 10_000
FULL = 0.75
"""Share of draws still under way below which the rest is gathered anew: gathering copies their log probabilities."""


class Solution(NamedTuple):
    """Where N draws end."""

    codes: Tensor
    """int64 [N]."""
    settled: Tensor
    """Which of them are settled, bool [N]."""
    evaluations: int
    """How often D was evaluated, for all draws together."""


def fixed_steps(
    noise: Tensor, log_probs: Tensor, codebook: Tensor, ids: Tensor | None, steps: int, order: int
) -> Solution:
    """Take N equal steps in s; the last one, to s = 1, lands on D, whose heaviest code is the result.

    Args:
        noise: [N, Cv].
        log_probs: [N, M].
        codebook: [V, Cv].
        ids: int64 [N, M]: see `ar_kernels.flow_mean`.
        steps: of each draw.
        order: 1 (Euler) or 2 (Heun); the last step has order 1.
    """
    z = noise
    for step in range(steps):
        tau = step / (steps - step)
        found = flow_mean(z, tau, log_probs, codebook, ids=ids)
        if step + 1 == steps:
            break
        after = (step + 1) / (steps - step - 1)
        mean = found.mean
        if order == 2:
            ahead = flow_mean(z + (after - tau) * mean, after, log_probs, codebook, ids=ids).mean
            mean = (mean + ahead) / 2
        z = z + (after - tau) * mean
    evaluations = len(noise) * (steps if order == 1 else 2 * steps - 1)
    return Solution(found.code, torch.ones_like(found.code, dtype=torch.bool), evaluations)


def adaptive(
    noise: Tensor,
    log_probs: Tensor,
    codebook: Tensor,
    ids: Tensor | None,
    *,
    tolerance: float,
    doubt: float,
    reach: float,
    end: float,
) -> Solution:
    """Let every draw take its own steps until all but ``doubt`` of the weight is on one code.

    Args:
        noise: [N, Cv].
        log_probs: [N, M].
        codebook: [V, Cv], centred.
        ids: int64 [N, M]: see `ar_kernels.flow_mean`.
        tolerance: largest estimated error of a step, as a share of 1 + tau ``reach``, about the length that z has then.
        doubt: weight of the other codes at which a draw is settled.
        reach: largest norm of a code.
        end: tau at which a draw ends unsettled, with the heaviest code.
    """
    codes = torch.zeros(len(noise), dtype=torch.int64, device=noise.device)
    settled = torch.zeros_like(codes, dtype=torch.bool)
    held = _Held(torch.arange(len(noise), device=noise.device), log_probs, ids, codebook)
    z, tau, step = noise, noise.new_zeros(len(noise)), noise.new_full((len(noise),), 0.1 / reach)
    found = held.mean(z, tau)
    slope, evaluations = found.mean, len(noise)
    live = torch.ones_like(settled)
    for _ in range(MOST_STEPS):
        # A weight that is no number will never be one.
        certain = (found.weight >= 1 - doubt) | found.weight.isnan()
        over = live & (certain | (tau >= end))
        codes[held.numbers[over]], settled[held.numbers[over]] = found.code[over], certain[over]
        live = live & ~over
        going = int(live.sum())
        if not going:
            break
        if going < FULL * len(live):
            held, z, tau, step, slope, live = held.of(live), z[live], tau[live], step[live], slope[live], live[live]
        ahead, found, error = _tried(held, z, tau, step, slope)
        evaluations += len(STAGES) * len(z)
        error = error / (tolerance * (1 + (tau + step) * reach))
        good = error <= 1
        z = torch.where(good[:, None], ahead, z)
        tau = torch.where(good, tau + step, tau)
        slope = torch.where(good[:, None], found.mean, slope)
        # What was not accepted says nothing about where the draw is.
        found = FlowMean(found.mean, found.code, found.weight.where(good, torch.zeros_like(found.weight)))
        step = step * (0.9 * error.clamp(min=1e-10) ** -0.2).clamp(*GROWTH)
    return Solution(codes, settled, evaluations)


class _Held(NamedTuple):
    """Draws that are computed, by their numbers, with what the posterior needs of each."""

    numbers: Tensor
    log_probs: Tensor
    ids: Tensor | None
    codebook: Tensor

    def mean(self, z: Tensor, tau: Tensor) -> FlowMean:
        return flow_mean(z, tau, self.log_probs, self.codebook, ids=self.ids)

    def of(self, live: Tensor) -> "_Held":
        ids = None if self.ids is None else self.ids[live]
        return _Held(self.numbers[live], self.log_probs[live], ids, self.codebook)


def _tried(held: _Held, z: Tensor, tau: Tensor, step: Tensor, slope: Tensor) -> tuple[Tensor, FlowMean, Tensor]:
    """One step of each draw: where it leads, the posterior there, and the norm of its estimated error."""
    slopes, width = [slope], step[:, None]
    for weights, time in zip(STAGES, TIMES):
        ahead = z + width * sum(weight * one for weight, one in zip(weights, slopes))
        found = held.mean(ahead, tau + step * time)
        slopes.append(found.mean)
    error = width * sum(weight * one for weight, one in zip(DIFFERENCE, slopes))
    return ahead, found, error.norm(dim=1)
