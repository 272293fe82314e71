"""What a pass over n tokens costs beside a pass over one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ar_core.decoding import Backbone, causal_pass
from ar_core.errors import ConfigError

__all__ = ["TYPICAL_PASS_COST", "PassCost", "measure_pass_cost"]


@dataclass(frozen=True)
class PassCost:
    """Seconds of one cached pass over n new tokens a row, for a few n.

    Attributes:
        tokens: the measured n, strictly increasing, starting with 1.
        seconds: time of each, > 0; only ratios are used, so any unit will do.

    Raises:
        ConfigError: lengths differ, n does not start with 1 or does not increase, or a time is not positive.
    """

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]

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
        """Cost of a pass over ``n`` ≥ 1 tokens in one-token passes.

        Linear between measured points; beyond the last one, proportional to n (a bound from above for any device).
        """
        points = list(zip(self.tokens, self.seconds, strict=True))
        for (left, cheap), (right, dear) in pairwise(points):
            if n <= right:
                return (cheap + (dear - cheap) * (n - left) / (right - left)) / self.seconds[0]
        return self.seconds[-1] * n / self.tokens[-1] / self.seconds[0]


TYPICAL_PASS_COST = PassCost((1, 2, 4, 8, 16, 32), (1.0, 1.27, 1.34, 1.51, 1.81, 2.48))
"""A 135 M model in bfloat16 on two CPU cores, 256 tokens in the cache: cautious, for where nothing was measured."""


def measure_pass_cost(
    backbone: Backbone,
    *,
    tokens: Sequence[int] = (1, 2, 4, 8, 16, 32),
    context: int = 256,
    batch: int = 1,
    rounds: int = 10,
) -> PassCost:
    """Time cached passes over n tokens, head included: all n in turn, round after round, the minimum of each.

    Interleaving exposes every n to the same disturbances, and the minimum drops them.

    Args:
        backbone: the model, on its device and in its dtype.
        tokens: the n to measure, increasing from 1.
        context: tokens in the cache before the pass; shortened to what the model can hold.
        batch: rows of a pass.
        rounds: repetitions, ≥ 1; one more goes before them untimed.

    Returns:
        The curve, seconds per pass.

    Raises:
        ConfigError: the model cannot hold the longest n, or ``rounds`` < 1.
    """
    context = min(context, backbone.context_length - max(tokens))
    if context < 1 or rounds < 1:
        raise ConfigError(
            f"the pass cost of {max(tokens)} tokens over {rounds} rounds was asked of a model with a context of "
            f"{backbone.context_length}, but at least one round and one cached token are needed; measure "
            "shorter passes or more rounds."
        )
    cache = backbone.new_cache(batch, context + max(tokens))
    with torch.no_grad():
        causal_pass(backbone, cache, [[0] * context] * batch)
        cache.keep(context)
        best = dict.fromkeys(tokens, float("inf"))
        for round_ in range(rounds + 1):
            for n in tokens:
                begin = time.perf_counter()
                hidden = causal_pass(backbone, cache, [[0] * n] * batch)
                # Read on the host, as a decoder does: an asynchronous device has finished only then.
                backbone.head(hidden).argmax(-1).tolist()
                elapsed = time.perf_counter() - begin
                cache.keep(0)
                if round_ > 0:
                    best[n] = min(best[n], elapsed)
    return PassCost(tuple(tokens), tuple(best[n] for n in tokens))
