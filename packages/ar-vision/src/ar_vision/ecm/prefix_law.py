"""Early-centric sampling: how many of the scales a training step sees. Imports no torch.

Published are that early scales are favoured and that a strength says how much; the law is not. Attention being causal over scales, a prefix
of the scales is trained exactly as it is within all of them.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Literal

from ar_core.errors import ConfigError

from .config import require_choice

__all__ = ["PrefixLaw"]

Law = Literal["full", "uniform", "geometric", "normal"]


@dataclass(frozen=True, kw_only=True)
class PrefixLaw:
    """Distribution of K', the number of scales of a training step, over 1 to K.

    Raises:
        ConfigError: a value is out of range, or a setting is given that the law does not use.
    """

    law: Law = "uniform"
    """``full``: K always. ``uniform``. ``geometric``: p(k) proportional to exp(-strength k). ``normal``: to
    exp(-(k - mean)^2 / 2 deviation^2)."""
    p_full: float = 0.25
    """Probability of all K scales in the place of the law, so that late scales are trained, too."""
    strength: float | None = None
    """``geometric``: lambda."""
    mean: float | None = None
    """``normal``: mu, in scales."""
    deviation: float | None = None
    """``normal``: sigma, in scales."""

    def __post_init__(self) -> None:
        require_choice("law", self.law, Law)
        if not 0 <= self.p_full <= 1:
            raise ConfigError(f"p_full is {self.p_full}; it must lie in [0, 1]")
        needed = {"geometric": ("strength",), "normal": ("mean", "deviation")}.get(self.law, ())
        for name in ("strength", "mean", "deviation"):
            value = getattr(self, name)
            if (value is None) == (name in needed) or (value is not None and not math.isfinite(value)):
                raise ConfigError(
                    f"{name} is {value} and the law {self.law!r} "
                    + ("needs it: give a number" if name in needed else "has none: leave it out")
                )
        if self.deviation is not None and self.deviation <= 0:
            raise ConfigError(f"deviation is {self.deviation}; it must be above 0")

    def probabilities(self, count: int) -> tuple[float, ...]:
        """Return P(K' = k) for k = 1 to K, which is ``count``; they add up to 1."""
        exponents = [self._exponent(k, count) for k in range(1, count + 1)]
        # The largest is taken out first: a strong law would underflow everywhere.
        scores = [math.exp(one - max(exponents)) for one in exponents]
        drawn = [(1 - self.p_full) * score / sum(scores) for score in scores]
        drawn[-1] += self.p_full
        return tuple(drawn)

    def seen(self, count: int) -> tuple[float, ...]:
        """Return P(K' >= k) for k = 1 to K: how often each scale is trained."""
        law = self.probabilities(count)
        return tuple(math.fsum(law[k:]) for k in range(count))

    def draw(self, count: int, key: int) -> int:
        """Return K', a function of its arguments alone.

        Args:
            count: K.
            key: random number of the step, as `ar_core.corruption.SampleRng.key` gives it.
        """
        place, total = Random(key).random(), 0.0
        for k, probability in enumerate(self.probabilities(count), start=1):
            total += probability
            if place < total:
                return k
        return count

    def _exponent(self, k: int, count: int) -> float:
        if self.law == "full":
            return 0.0 if k == count else -math.inf
        if self.law == "geometric":
            assert self.strength is not None
            return -self.strength * k
        if self.law == "normal":
            assert self.mean is not None
            assert self.deviation is not None
            return -((k - self.mean) ** 2) / (2 * self.deviation**2)
        return 0.0
