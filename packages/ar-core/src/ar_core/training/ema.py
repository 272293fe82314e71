"""Exponential moving average of the trained weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .optimizers import Turn

__all__ = ["Ema"]


class Ema:
    """average = decay * average + (1 - decay) * weight after every optimiser step, starting at the initial weights.

    Args:
        turns: The players whose parameters are averaged.
        decay: Decay per step, in (0, 1).
    """

    def __init__(self, turns: Sequence[Turn], decay: float) -> None:
        self.parameters: list[nn.Parameter] = [parameter for turn in turns for parameter in turn.parameters]
        names = [name for turn in turns for name in turn.names]
        self.average = {name: parameter.detach().clone() for name, parameter in zip(names, self.parameters)}
        self._update = get_ema_multi_avg_fn(decay)

    def update(self) -> None:
        """Take the present weights into the average."""
        self._update(list(self.average.values()), [parameter.detach() for parameter in self.parameters], None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the models hold the average while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def keep(self) -> None:
        """Leave the average in the models for good."""
        for average, parameter in zip(self.average.values(), self.parameters):
            parameter.copy_(average)

    @torch.no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self.average.values(), self.parameters):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)
