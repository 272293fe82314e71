"""Timing passes of several widths on a machine that may be busy with other things.

Source: ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter

import torch

from ar_core.decoding import Backbone, causal_pass, pick
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from ar_core.verification.pass_cost import PassCost

__all__ = ["measure_pass_cost", "measure_pass_costs"]

RETRIES = 3
"""A measurement that other work disturbed is continued so often before it is given up."""
ABOVE_WIDER = 1.5
"""A pass cannot cost so many times what a wider one does."""
BELOW_ONE = 0.8
"""A pass of several tokens cannot cost less than this share of a one-token pass."""


def measure_pass_cost(
    backbone: Backbone,
    *,
    tokens: Sequence[int] = (1, 2, 4, 8, 16, 32),
    context: int = 256,
    batch: int = 1,
    rounds: int = 10,
) -> PassCost:
    """The curve of one model; arguments and errors of :func:`measure_pass_costs`."""
    one = {"": backbone}
    return measure_pass_costs(one, tokens=tokens, context=context, batch=batch, rounds=rounds)[""]


@torch.no_grad()
def measure_pass_costs(
    backbones: Mapping[str, Backbone],
    *,
    tokens: Sequence[int] = (1, 2, 4, 8, 16, 32),
    context: int = 256,
    batch: int = 1,
    rounds: int = 10,
) -> dict[str, PassCost]:
    """Time cached passes over n tokens, head included: all n of all models in turn, round after round.

    Interleaving exposes every pass to the same disturbances, the minimum over rounds drops most of them, and a wider pass
    bounds a narrower one: a point is the least time of any pass of at least n tokens, so that a curve never falls. Where
    that had to move a point far, the minimum was no minimum, and more rounds are run before any curve is believed.

    Args:
        backbones: the models by name, each on its device and in its dtype.
        tokens: the n to measure, increasing from 1.
        context: tokens in the cache before the pass; shortened to what the models can hold.
        batch: rows of a pass.
        rounds: repetitions, ≥ 1; one more goes before them untimed, two where passes have fixed shapes.

    Returns:
        The curve of each, seconds per pass, with the context that was used.

    Raises:
        ConfigError: a model cannot hold the longest n, ``rounds`` < 1, or other work disturbed every repetition.
    """
    room = min(backbone.context_length for backbone in backbones.values())
    context = min(context, room - max(tokens))
    if context < 1 or rounds < 1:
        raise ConfigError(
            f"the pass cost of {max(tokens)} tokens over {rounds} rounds was asked of a model with a context of "
            f"{room}, but at least one round and one cached token are needed; measure "
            "shorter passes or more rounds."
        )
    timings = {name: _timings(backbone, tokens, context, batch) for name, backbone in backbones.items()}
    best = {name: [float("inf")] * len(tokens) for name in backbones}
    # Passes of fixed shapes are captured or compiled when they come for the second time.
    for _ in range(2 if any(hasattr(backbone, "engine") for backbone in backbones.values()) else 1):
        for timing in timings.values():
            next(timing)
    for _ in range(1 + RETRIES):
        for _ in range(rounds):
            for name, timing in timings.items():
                best[name] = list(map(min, best[name], next(timing)))
        if not any(map(_disturbed, best.values())):
            return {name: PassCost(tuple(tokens), tuple(_bounded(raw)), context) for name, raw in best.items()}
    raise ConfigError(
        f"the passes could not be timed: after {rounds * (1 + RETRIES)} repetitions some still took longer than wider ones, so "
        "this machine is too busy with other work; try again when it is quiet."
    )


def _timings(backbone: Backbone, tokens: Sequence[int], context: int, batch: int) -> Iterator[list[float]]:
    """Seconds of a pass of each width, for ever."""
    cache = backbone.new_cache(batch, context + max(tokens))
    causal_pass(backbone, cache, [[0] * context] * batch)
    cache.keep(context)
    while True:
        seconds = []
        for n in tokens:
            begin = perf_counter()
            hidden = causal_pass(backbone, cache, [[0] * n] * batch)
            # Read on the host, as a decoder does: an asynchronous device has finished only then.
            pick(backbone, hidden.flatten(0, 1), Sampler(), with_confidences=False)[0].tolist()
            seconds.append(perf_counter() - begin)
            cache.keep(0)
        yield seconds


def _bounded(seconds: Sequence[float]) -> list[float]:
    """Each time, or a wider pass's if that is less."""
    return [min(seconds[i:]) for i in range(len(seconds))]


def _disturbed(seconds: Sequence[float]) -> bool:
    """Whether these minima cannot be those of a quiet machine."""
    return any(
        raw > ABOVE_WIDER * bound or raw < BELOW_ONE * seconds[0]
        for raw, bound in zip(seconds, _bounded(seconds), strict=True)
    )
