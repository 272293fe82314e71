"""From a device's pass-cost curve to the settings of a method, with the reasons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ar_core.verification import PassCost

from .methods import DIFFUSION_BLOCK_SIZE, Generation, Method, build_method
from .session import Session

__all__ = ["Candidate", "Point", "candidates", "choose_draft_length", "choose_point", "sweep"]

ACCEPTANCE = 0.8
"""Assumed share of right draft tokens, at which a draft length is chosen; the draft budget adapts it while decoding."""
BLOCK_SIZES = (4, 8, 16, 32)
CAREFUL = 2.0
"""A threshold that no confidence reaches."""
THRESHOLDS = (0.99, 0.95, 0.9, 0.8, 0.7)


@dataclass(frozen=True)
class Candidate:
    """One setting of a block method, to be tried.

    Attributes:
        block_size: D.
        threshold: τ; ``CAREFUL`` for one token per pass, the reference of its block size.
        method: the method with these settings.
    """

    block_size: int
    threshold: float
    method: Method


@dataclass(frozen=True)
class Point:
    """One setting of a block method on the given prompts.

    Attributes:
        block_size: D.
        threshold: τ, confidence from which on a token is accepted.
        tokens_per_pass: generated tokens per row and pass behind the prefill.
        cost: mean cost of these passes in one-token passes, each by its own width.
        agreement: share of each output that agrees, from its beginning, with the same method's output at one token per
            pass; the mean over prompts.
    """

    block_size: int
    threshold: float
    tokens_per_pass: float
    cost: float
    agreement: float

    @property
    def speed(self) -> float:
        """Tokens per one-token pass of AR, which makes 1."""
        return self.tokens_per_pass / self.cost


def choose_draft_length(cost: PassCost, given: int | None = None) -> tuple[int, list[str]]:
    """The draft length k that brings most tokens for its price at the assumed acceptance, and why; or the given one.

    Largest (1 − α^(k+1)) / (1 − α) / cost(k + 1) over k below the longest measured pass.
    """

    def gain(k: int) -> float:
        return (1 - ACCEPTANCE ** (k + 1)) / (1 - ACCEPTANCE) / cost.ratio(k + 1)

    share = f"{100 * ACCEPTANCE:.0f} %"
    adapted = (
        "While decoding, shorter drafts or none are used wherever fewer are right; the output never depends on it."
    )
    if given is not None:
        worth = f"Drafts of {given} were asked for; if {share} of their tokens are right, they bring {gain(given):.2f} tokens for the price of one."
        return given, [_curve(cost), worth, adapted]
    best = max(range(cost.tokens[-1]), key=gain)
    return max(best, 1), [
        _curve(cost),
        f"If {share} of draft tokens are right, drafts of {best} are worth most: {gain(best):.2f} tokens for the price of one."
        if best > 0
        else f"No draft length pays for itself even if {share} of draft tokens are right; AR is the fastest method here.",
        adapted,
    ]


def candidates(session: Session, name: str, settings: Mapping[str, Any]) -> list[Candidate]:
    """Every block size and threshold that the user left open, the reference of each size first.

    Args:
        session: the model.
        name: of a block method.
        settings: the user's, by the method's own names.

    Raises:
        ConfigError: settings that contradict each other.
    """
    key = (
        DIFFUSION_BLOCK_SIZE
        if hasattr(build_method(name, session, settings, {}).options, DIFFUSION_BLOCK_SIZE)
        else "block_size"
    )
    sizes = [settings[key]] if key in settings else BLOCK_SIZES
    thresholds = [settings["threshold"]] if "threshold" in settings else THRESHOLDS
    return [
        Candidate(size, threshold, build_method(name, session, {**settings, key: size, "threshold": threshold}, {}))
        for size in sizes
        for threshold in (CAREFUL, *thresholds)
    ]


def sweep(
    session: Session,
    tried: Sequence[Candidate],
    prompts: Sequence[list[int]],
    cost: PassCost,
    *,
    generation: Generation,
    progress: Any,
) -> list[Point]:
    """Decode the prompts with every candidate; what it costs follows from the widths of its passes and the curve."""
    points = []
    reference: list[list[int]] = []
    for candidate in tried:
        outputs, widths = _decode(session, candidate.method, prompts, generation)
        progress()
        if candidate.threshold == CAREFUL:
            reference = outputs
            continue
        passes = max(widths.total(), 1)
        price = sum(count * cost.ratio(width) for width, count in widths.items()) / passes
        agreement = sum(map(_agreement, reference, outputs)) / len(prompts)
        per_pass = sum(map(len, outputs)) / passes
        points.append(Point(candidate.block_size, candidate.threshold, per_pass, price or 1.0, agreement))
    return points


def choose_point(points: Sequence[Point], cost: PassCost, *, agreement: float) -> tuple[Point, list[str]]:
    """The fastest point whose outputs agree enough with one token per pass, and why; the most careful one if none does."""
    careful = [point for point in points if point.agreement >= agreement]
    best = max(careful, key=lambda point: point.speed) if careful else max(points, key=lambda point: point.agreement)
    reasons = [_curve(cost)]
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
        f"It fixes {best.tokens_per_pass:.2f} tokens per pass, and its passes cost {best.cost:.2f} one-token passes on average: "
        f"{best.speed:.2f} times the speed of AR, prefill aside."
    )
    if best.speed <= 1:
        reasons.append("That is no gain: on this device AR (or lookup, which never loses) is the better choice.")
    return best, reasons


def _decode(
    session: Session, method: Method, prompts: Sequence[list[int]], generation: Generation
) -> tuple[list[list[int]], Counter[int]]:
    """Outputs, and the passes behind the prefills by width."""
    outputs, widths = [], Counter[int]()
    for index, ids in enumerate(prompts):
        decoded = method.decode(session, [ids], generation, first_index=index)
        outputs += decoded.tokens
        widths += decoded.stats.widths
    return outputs, widths


def _agreement(reference: Sequence[int], output: Sequence[int]) -> float:
    longest = max(len(reference), len(output))
    same = next((i for i, (a, b) in enumerate(zip(reference, output)) if a != b), min(len(reference), len(output)))
    return same / longest if longest else 1.0


def _curve(cost: PassCost) -> str:
    ratios = ", ".join(f"{cost.ratio(n):.2f} (n = {n})" for n in cost.tokens[1:])
    return f"A pass of n tokens costs {ratios} one-token passes on this device."
