"""Templated word problems of one to three steps, answered by a written computation and a sentence.

    kim has 47 maps. she buys 28. she sells 31. how many maps?
    47+28: 7+8+0=5c1 4+2+1=7c0 =75; 75-31: 5-1-0=4b0 7-3-0=4b0 =44. kim has 44 maps.

The name and the noun are to be copied, the verbs decide the signs, and all numbers have two digits.
"""

import random

from .arithmetic import DIGITS, chain
from .problem import Problem
from .scratchpad import worked

__all__ = ["NAMES", "NOUNS", "VERBS", "draw"]

NAMES = {
    "ada": "she", "ben": "he", "cleo": "she", "dan": "he", "eva": "she", "finn": "he",
    "gina": "she", "hugo": "he", "iris": "she", "jack": "he", "kim": "she", "leo": "he",
}  # fmt: skip
"""Names and their pronouns."""

NOUNS = ("apples", "books", "coins", "dolls", "eggs", "flags", "hats", "jars", "keys", "lamps", "maps", "nuts")
"""What people have."""

VERBS = {"+": ("buys", "finds", "gets", "makes"), "-": ("sells", "loses", "gives", "drops")}
"""What they do to have more or fewer of them."""


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split."""
    name, noun = rng.choice(list(NAMES)), rng.choice(NOUNS)
    start, steps = chain(rng, rng.randint(1, 3))
    sentences = [f"{name} has {start} {noun}."]
    sentences += [f"{NAMES[name]} {rng.choice(VERBS[sign])} {operand}." for sign, operand in steps]
    computation, result = worked(start, steps, DIGITS)
    return Problem(
        "word_problems",
        " ".join(sentences) + f" how many {noun}?\n",
        f"{computation}. {name} has {result} {noun}.",
    )
