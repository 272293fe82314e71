"""Chains of two to four additions and subtractions of two-digit numbers, with a written scratchpad.

    47+28-31?
    47+28: 7+8+0=5c1 4+2+1=7c0 =75; 75-31: 5-1-0=4b0 7-3-0=4b0 =44

Operands and intermediate results all have two digits (10 to 99): two operations are 64 characters, four are 130.
"""

import random

from .problem import Problem
from .scratchpad import worked

__all__ = ["DIGITS", "chain", "draw"]

DIGITS = 2
"""Of the numbers of a problem; those of answers follow from them."""
LOW, HIGH = 10 ** (DIGITS - 1), 10**DIGITS - 1


def chain(rng: random.Random, operations: int) -> tuple[int, list[tuple[str, int]]]:
    """A start value and operations on it, every operand and every result of ``DIGITS`` digits.

    Args:
        rng: where the draws come from.
        operations: how many.

    Returns:
        The start value and the pairs of sign and right operand.
    """
    start = value = rng.randint(LOW, HIGH)
    steps = []
    for _ in range(operations):
        signs = [sign for sign, room in (("+", HIGH - value), ("-", value - LOW)) if room >= LOW]
        sign = rng.choice(signs)
        operand = rng.randint(LOW, HIGH - value if sign == "+" else value - LOW)
        value += operand if sign == "+" else -operand
        steps.append((sign, operand))
    return start, steps


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split."""
    start, steps = chain(rng, rng.randint(2, 4))
    prompt = f"{start}" + "".join(f"{sign}{operand}" for sign, operand in steps) + "?\n"
    return Problem("arithmetic", prompt, worked(start, steps, DIGITS)[0])
