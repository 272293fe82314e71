"""Chains of one to three additions and subtractions of three-digit numbers, with a written scratchpad.

    347+285-118?
    347+285: 7+5+0=2c1 4+8+1=3c1 3+2+1=6c0 =632; 632-118: 2-8-0=4b1 3-1-1=1b0 6-1-0=5b0 =514

Operands and intermediate results all have three digits (100 to 999): one operation is 43 characters, three are 133.
"""

import random

from .problem import Problem
from .scratchpad import worked

__all__ = ["chain", "draw"]


def chain(rng: random.Random, low: int, high: int) -> tuple[int, list[tuple[str, int]]]:
    """A start value and one to three operations whose operands and results all lie in [low, high].

    Args:
        rng: where the draws come from.
        low: smallest operand and result; ``3 * low <= high`` so that one of both signs is always possible.
        high: largest operand and result.

    Returns:
        The start value and the pairs of sign and right operand.
    """
    start = value = rng.randint(low, high)
    steps = []
    for _ in range(rng.randint(1, 3)):
        signs = [sign for sign, room in (("+", high - value), ("-", value - low)) if room >= low]
        sign = rng.choice(signs)
        operand = rng.randint(low, high - value if sign == "+" else value - low)
        value += operand if sign == "+" else -operand
        steps.append((sign, operand))
    return start, steps


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split."""
    start, steps = chain(rng, 100, 999)
    prompt = f"{start}" + "".join(f"{sign}{operand}" for sign, operand in steps) + "?\n"
    return Problem("arithmetic", prompt, worked(start, steps, digits=3)[0])
