"""From a device's pass-cost curve to the settings of a method, with the reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ar_core.decoding import DecodeStats
from ar_core.verification import PassCost

from .methods import Generation, Method, build_method
from .session import Session

__all__ = ["Point", "choose_draft_length", "choose_point", "sweep"]

ACCEPTANCE = 0.8
"""Assumed share of right draft tokens, at which a draft length is chosen; the draft budget adapts it while decoding."""
DISTURBED_BELOW = 0.8
"""A cost in one-token passes that no device can have."""
BLOCK_SIZES = (4, 8, 16, 32)
THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.7)


@dataclass(frozen=True)
class Point:
    """One setting of a block method on the given prompts.

    Attributes:
        block_size: D.
        threshold: τ.
        tokens_per_pass: generated tokens per row and pass behind the prefill.
        speed: the same over the cost of a pass of D tokens: tokens per one-token pass of AR, which makes 1.
        agreement: share of each output that agrees, from its beginning, with the same method's output at one token per
            pass; the mean over prompts.
    """

    block_size: int
    threshold: float
    tokens_per_pass: float
    speed: float
    agreement: float


def choose_draft_length(cost: PassCost) -> tuple[int, list[str]]:
    """The draft length k that brings most tokens for its price at the assumed acceptance, and why.

    Largest (1 − α^(k+1)) / (1 − α) / cost(k + 1) over k below the longest measured pass.
    """
    lengths = range(cost.tokens[-1])
    gains = {k: (1 - ACCEPTANCE ** (k + 1)) / (1 - ACCEPTANCE) / cost.ratio(k + 1) for k in lengths}
    best = max(gains, key=lambda k: gains[k])
    return max(best, 1), [
        *_curve(cost),
        f"If {100 * ACCEPTANCE:.0f} % of draft tokens are right, drafts of {best} are worth most: "
        f"{gains[best]:.2f} tokens for the price of one."
        if best > 0
        else "No draft length pays for itself even if 80 % of draft tokens are right; AR is the fastest method here.",
        "While decoding, shorter drafts or none are used wherever fewer are right; the output never depends on it.",
    ]


def sweep(
    session: Session,
    name: str,
    settings: Mapping[str, Any],
    prompts: Sequence[list[int]],
    cost: PassCost,
    *,
    generation: Generation,
    progress: Any,
) -> list[Point]:
    """Decode the prompts with every block size and threshold that the user left open; speeds follow from counts and curve."""
    sizes = [settings["block_size"]] if "block_size" in settings else BLOCK_SIZES
    thresholds = [settings["threshold"]] if "threshold" in settings else THRESHOLDS
    points = []
    for size in sizes:
        reference = None
        for threshold in (2.0, *thresholds):
            method = build_method(name, session, {**settings, "block_size": size, "threshold": threshold}, {})
            outputs, stats = _decode(session, method, prompts, generation)
            progress()
            if reference is None:
                reference = outputs
                continue
            passes = sum(count for phase, count in stats.row_forwards.items() if phase != "prefill")
            per_pass = sum(stats.generated) / max(passes, 1)
            agreement = sum(map(_agreement, reference, outputs)) / len(prompts)
            points.append(Point(size, threshold, per_pass, per_pass / cost.ratio(size), agreement))
    return points


def choose_point(points: Sequence[Point], cost: PassCost, *, agreement: float) -> tuple[Point, list[str]]:
    """The fastest point whose outputs agree enough with one token per pass, and why; the most careful one if none does."""
    careful = [point for point in points if point.agreement >= agreement]
    best = max(careful, key=lambda point: point.speed) if careful else max(points, key=lambda point: point.agreement)
    reasons = _curve(cost)
    if careful:
        reasons.append(
            f"Of {len(points)} settings, {len(careful)} keep at least {100 * agreement:.0f} % of the outputs of one token per "
            f"pass; the fastest of them is block size {best.block_size}, threshold {best.threshold}."
        )
    else:
        reasons.append(
            f"No setting keeps {100 * agreement:.0f} % of the outputs of one token per pass; block size {best.block_size}, "
            f"threshold {best.threshold} keeps most ({100 * best.agreement:.0f} %)."
        )
    reasons.append(
        f"It fixes {best.tokens_per_pass:.2f} tokens per pass at {cost.ratio(best.block_size):.2f} times the cost of a one-token "
        f"pass: {best.speed:.2f} times the speed of AR, prefill aside."
    )
    if best.speed <= 1:
        reasons.append("That is no gain: on this device AR (or lookup, which never loses) is the better choice.")
    return best, reasons


def _decode(
    session: Session, method: Method, prompts: Sequence[list[int]], generation: Generation
) -> tuple[list[list[int]], DecodeStats]:
    outputs, stats = [], DecodeStats()
    for index, ids in enumerate(prompts):
        decoded = method.decode(session, [ids], replace(generation), first_index=index)
        outputs += decoded.tokens
        stats = stats + decoded.stats
    return outputs, stats


def _agreement(reference: Sequence[int], output: Sequence[int]) -> float:
    longest = max(len(reference), len(output))
    same = next((i for i, (a, b) in enumerate(zip(reference, output)) if a != b), min(len(reference), len(output)))
    return same / longest if longest else 1.0


def _curve(cost: PassCost) -> list[str]:
    ratios = ", ".join(f"{cost.ratio(n):.2f} (n = {n})" for n in cost.tokens[1:])
    lines = [f"A pass of n tokens costs {ratios} one-token passes on this device."]
    if any(cost.ratio(n) < DISTURBED_BELOW for n in cost.tokens):
        lines.append(
            "A pass of several tokens cannot cost so little: other work disturbed the measurement, so repeat it on a quiet machine "
            "or with more --rounds."
        )
    return lines
