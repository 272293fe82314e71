"""Named fields of a short record, returned as JSON in the order they were asked for.

    day fri, order 4821, name mia, code kx70, city oslo. json: city, order, code
    {"city": "oslo", "order": 4821, "code": "kx70"}

Words come from short lists, digits and codes are random: nothing but copying gets them right.
"""

import json
import random
import string

from .problem import Problem
from .word_problems import NAMES

__all__ = ["FIELDS", "draw"]

CITIES = (
    "athens", "berlin", "cairo", "delhi", "genoa", "havana", "kyoto", "lima",
    "milan", "nice", "oslo", "paris", "quito", "rome", "seoul", "tunis",
)  # fmt: skip
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

FIELDS = ("name", "city", "day", "order", "qty", "code")
"""All fields a record can have."""


def _value(rng: random.Random, field: str) -> str | int:
    if field == "order":
        return rng.randint(1000, 9999)
    if field == "qty":
        return rng.randint(10, 99)
    if field == "code":
        letters = rng.choices(string.ascii_lowercase, k=2)
        return "".join(letters) + f"{rng.randint(10, 99)}"
    return rng.choice({"name": tuple(NAMES), "city": CITIES, "day": DAYS}[field])


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split: a record of five fields, three or four of them asked for."""
    record = {field: _value(rng, field) for field in rng.sample(FIELDS, 5)}
    asked = rng.sample(list(record), rng.randint(3, 4))
    prompt = ", ".join(f"{field} {value}" for field, value in record.items())
    return Problem(
        "extraction",
        f"{prompt}. json: {', '.join(asked)}\n",
        json.dumps({field: record[field] for field in asked}),
    )
