"""Templated word problems of one to three steps, answered by a written computation and a sentence.

    mia has 47 plums. she buys 28 more. she sells 31. how many plums?
    47+28: 7+8+0=5c1 4+2+1=7c0 =75; 75-31: 5-1-0=4b0 7-3-0=4b0 =44. mia has 44 plums.

The name and the noun are to be copied, the verbs decide the signs, and the numbers have two digits throughout.
"""

import random

from .arithmetic import chain
from .problem import Problem
from .scratchpad import worked

__all__ = ["NAMES", "draw"]

NAMES = {
    "ada": "she", "ben": "he", "cleo": "she", "dan": "he", "eva": "she", "finn": "he", "gina": "she", "hugo": "he",
    "iris": "she", "jack": "he", "kim": "she", "leo": "he", "mia": "she", "noah": "he", "olga": "she", "paul": "he",
}  # fmt: skip
"""Names and their pronouns."""

NOUNS = (
    "apples", "books", "coins", "dolls", "eggs", "flags", "grapes", "hats",
    "jars", "keys", "lamps", "maps", "nuts", "pens", "rings", "shells",
)  # fmt: skip

VERBS = {
    "+": ("buys {} more", "finds {} more", "gets {} more", "picks up {}"),
    "-": ("sells {}", "loses {}", "gives away {}", "drops {}"),
}


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split."""
    name, noun = rng.choice(list(NAMES)), rng.choice(NOUNS)
    start, steps = chain(rng, 10, 99)
    sentences = [f"{name} has {start} {noun}."]
    for sign, operand in steps:
        sentences.append(f"{NAMES[name]} {rng.choice(VERBS[sign]).format(operand)}.")
    computation, result = worked(start, steps, digits=2)
    return Problem(
        "word_problems",
        " ".join(sentences) + f" how many {noun}?\n",
        f"{computation}. {name} has {result} {noun}.",
    )
