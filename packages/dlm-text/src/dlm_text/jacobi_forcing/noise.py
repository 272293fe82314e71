"""Noise schedules of Jacobi Forcing (arXiv 2512.14681, section 3.2): how noisy each block of a sample is."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .config import NoiseSchedule
from .trajectories.trajectory import Trajectory, first_errors

__all__ = ["Noised", "noise_ratios", "noised", "scheduled_ratios"]


@dataclass(frozen=True)
class Noised:
    """The states that stand for the blocks of a trajectory."""

    chosen: list[int]
    """T numbers of states."""
    states: Tensor
    """int64 [T, n]: the states themselves."""


def scheduled_ratios(schedule: NoiseSchedule) -> Tensor:
    """W, float64 [w]: the noise ratios of a window in rising order, 0 first."""
    w = schedule.window
    if schedule.endpoint == "exclusive":
        return torch.arange(w, dtype=torch.float64) / w
    return torch.linspace(0, 1, w, dtype=torch.float64)


def noise_ratios(states: Tensor, clean: Tensor, metric: str) -> Tensor:
    """Noise ratio of each state of a block, float64 [K] in [0, 1].

    Args:
        states: int64 [K, n].
        clean: int64 [n], the fixed point.
        metric: see `NoiseSchedule.metric`.
    """
    n = clean.shape[-1]
    wrong = (states != clean).sum(-1) if metric == "count" else n - first_errors(states, clean)
    return wrong.double() / n


def noised(trajectory: Trajectory, schedule: NoiseSchedule, generator: Generator) -> Noised:
    """Choose a state for every block.

    Args:
        trajectory: T blocks.
        schedule: how noisy each is to be.
        generator: of the sample; drawn from by `order: random` alone.
    """
    if schedule.kind == "window":
        chosen = _nearest(trajectory, schedule, generator)
    else:
        chosen = [
            len(states) - min(_place(schedule, block, len(states)), len(states))
            for block, states in enumerate(trajectory.states)
        ]
    states = torch.stack([states[k] for states, k in zip(trajectory.states, chosen, strict=True)])
    return Noised(chosen, states)


def _nearest(trajectory: Trajectory, schedule: NoiseSchedule, generator: Generator) -> list[int]:
    ratios = scheduled_ratios(schedule)
    blocks = torch.arange(len(trajectory.states))
    steps = blocks % schedule.window
    if schedule.order == "reverse":
        steps = schedule.window - 1 - steps
    elif schedule.order == "random":
        steps = torch.randint(schedule.window, (len(blocks),), generator=generator)
    chosen = []
    for block, states in enumerate(trajectory.states):
        found = noise_ratios(states, trajectory.clean[block], schedule.metric)
        # The first of equally near states: argmin promises none in particular.
        distance = (found - ratios[steps[block]]).abs()
        chosen.append(int((distance == distance.min()).nonzero()[0]))
    return chosen


def _place(schedule: NoiseSchedule, block: int, states: int) -> int:
    """The place of a block's state, counted from the end of its trajectory, where the fixed point is 1."""
    if schedule.kind == "progressive":
        return min(2 + block, schedule.horizon)
    return 2 + block % max(1, min(schedule.horizon, states) - 1)
