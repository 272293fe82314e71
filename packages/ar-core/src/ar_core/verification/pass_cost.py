"""What a pass over n tokens costs beside a pass over one."""

from dataclasses import dataclass
from itertools import pairwise

from ar_core.errors import ConfigError

__all__ = ["TYPICAL_PASS_COST", "PassCost"]


@dataclass(frozen=True)
class PassCost:
    """Seconds of one cached pass over n new tokens a row, for a few n.

    Attributes:
        tokens: the measured n, strictly increasing, starting with 1.
        seconds: time of each, > 0; only ratios are used, so any unit will do.
        context: tokens in the cache while they were measured; ``None`` where that is not known.

    Raises:
        ConfigError: lengths differ, n does not start with 1 or does not increase, or a time is not positive.
    """

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    context: int | None = None

    def __post_init__(self) -> None:
        if (
            len(self.tokens) != len(self.seconds)
            or self.tokens[:1] != (1,)
            or any(a >= b for a, b in pairwise(self.tokens))
            or any(not s > 0 for s in self.seconds)
        ):
            raise ConfigError(
                f"a pass-cost curve was given tokens {list(self.tokens)} and seconds {list(self.seconds)}, but "
                "needs increasing tokens from 1 on and one positive time for each; measure it again with "
                "'ar-decode tune'."
            )

    def ratio(self, n: int) -> float:
        """Cost of a pass over ``n`` ≥ 1 tokens in one-token passes; between and beyond the points as :meth:`time`."""
        return self.time(n) / self.seconds[0]

    def time(self, n: int) -> float:
        """Seconds of a pass over ``n`` ≥ 1 tokens.

        Linear between measured points; beyond the last one, proportional to n (a bound from above for any device).
        """
        points = list(zip(self.tokens, self.seconds, strict=True))
        for (left, cheap), (right, dear) in pairwise(points):
            if n <= right:
                return cheap + (dear - cheap) * (n - left) / (right - left)
        return self.seconds[-1] * n / self.tokens[-1]


TYPICAL_PASS_COST = PassCost((1, 2, 4, 8, 16, 32), (1.0, 1.27, 1.34, 1.51, 1.81, 2.48), context=256)
"""A 135 M model in bfloat16 on two CPU cores, 256 tokens in the cache: cautious, for where nothing was measured."""
