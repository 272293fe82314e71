"""How bits are drawn from two-way logits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from ar_core.errors import ConfigError
from torch import Generator, Tensor

__all__ = ["BitDraw", "BitSampler"]

BitDraw = Literal["uniform", "multinomial"]
"""How a bit is drawn: from one uniform number, or as the published code does."""


@dataclass(frozen=True)
class BitSampler:
    """Temperature, then top-k, then top-p, each over the two values of a bit.

    The same law as the published multinomial draw from a two-way softmax, from one uniform number a bit: the bit is 1 where
    that number lies below sigmoid((z1 - z0) / T). Of two classes, top-k with k of 2 or more keeps both, and top-p takes the
    rarer value away where its probability is at most 1 - p: p = 0.97 forces the bit where |z1 - z0| / T >= ln(97 / 3).

    Attributes:
        temperature: tau > 0, or 0 for the more probable value.
        top_k: 1 is the more probable value; more is no limit, whatever the published 900 suggests; None: no limit.
        top_p: 0 < p <= 1, or None for no limit.
        draw: "uniform", or "multinomial": ``torch.multinomial`` over the two values, as the published code calls it. One image
            whose generator has the published seed (``g_seed``) then gets the published bits; several share no generator here.

    Raises:
        ConfigError: a value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    draw: BitDraw = "uniform"

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature is {self.temperature}; it must be a number of at least 0 (0 is greedy)")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; it must be at least 1, or null for no limit")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; it must lie in (0, 1], or be null for no limit")
        if self.draw not in get_args(BitDraw):
            raise ConfigError(f"draw is {self.draw!r}; choose {' or '.join(get_args(BitDraw))}")

    @property
    def greedy(self) -> bool:
        """Whether every bit is the more probable one."""
        return self.temperature == 0 or self.top_k == 1

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability that each bit is 1, after all filters; [..., d_v] of logits [..., 2 d_v], float32 or better."""
        zero, one = logits.unflatten(-1, (-1, 2)).unbind(-1)
        difference = (one - zero).float() if logits.dtype != torch.float64 else one - zero
        if self.greedy:
            out: Tensor = (difference > 0).to(difference.dtype)
            return out
        difference = difference / self.temperature
        ones = torch.sigmoid(difference)
        if self.top_p is None:
            return ones
        forced = torch.sigmoid(-difference.abs()) <= 1 - self.top_p
        return torch.where(forced, (difference > 0).to(ones), ones)

    def pick(self, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Draw the bits of each row from its own generator: bool [R, n, d_v] of logits [R, n, 2 d_v].

        A row takes as many random numbers for a bit that is forced as for any other, so that its stream is a function of how
        many bits it drew; greedy draws take none.
        """
        ones = self.probabilities(logits)
        if self.greedy:
            return ones > 0
        if self.draw == "multinomial":
            pairs = torch.stack([1 - ones, ones], dim=-1).flatten(1, -2)
            drawn = [
                torch.multinomial(row.to(g.device), 1, replacement=True, generator=g).to(ones.device)
                for row, g in zip(pairs, generators, strict=True)
            ]
            return torch.stack(drawn).view(ones.shape) > 0
        uniforms = torch.stack([torch.rand(ones.shape[1:], generator=g, device=g.device).cpu() for g in generators])
        return uniforms.to(ones.device) < ones
