"""A short record with its fields in any order, returned as JSON in one fixed order.

    size:52, item:lamps, order:48, name:kim, city:oslo?
    {"name":"kim","city":"oslo","item":"lamps","order":48,"size":52}

Words come from short lists and numbers are random: nothing but copying gets them right.
"""

import json
import random

from .problem import Problem
from .word_problems import NAMES, NOUNS

__all__ = ["CITIES", "FIELDS", "draw"]

CITIES = ("athens", "berlin", "cairo", "delhi", "kyoto", "lima", "milan", "oslo", "paris", "rome", "seoul", "tunis")
"""What the field `city` may hold."""

WORDS = {"name": tuple(NAMES), "city": CITIES, "item": NOUNS}

FIELDS = (*WORDS, "order", "size", "age")
"""All fields a record can have, in the order of the answer. Those without a list of words hold a number, 10 to 99."""


def _value(rng: random.Random, field: str) -> str | int:
    return rng.choice(WORDS[field]) if field in WORDS else rng.randint(10, 99)


def draw(rng: random.Random) -> Problem:
    """One problem, from either half of the split: four or five of the six fields."""
    record = {field: _value(rng, field) for field in rng.sample(FIELDS, rng.randint(4, 5))}
    prompt = ", ".join(f"{field}:{value}" for field, value in record.items())
    answer = {field: record[field] for field in FIELDS if field in record}
    return Problem("extraction", f"{prompt}?\n", json.dumps(answer, separators=(",", ":")))
