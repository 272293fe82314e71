"""COCO photographs (CC BY and CC BY-SA) with their captions and the counts of their objects."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ar_core.errors import DataError

from .records import Item, Question, Sides, draw, split

__all__ = ["DETAIL", "SHORT", "coco", "joined"]

SHORT = "Describe the picture in one sentence."
DETAIL = "Describe the picture in detail."
HELD_OUT = 0.3
LEAST_WORDS = 24
"""Of a description in detail."""


def coco(folder: Path) -> Sides:
    """Captions one by one and joined to longer ones, counts, and whether something is there.

    Args:
        folder: with metadata.jsonl and the photographs that it names.

    Raises:
        DataError: a file is missing or malformed.
    """
    file = folder / "metadata.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        known = sorted({name for row in rows for name in row["object_counts"] or ()})
        items = [_item(folder, row, known) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} and its photographs cannot be read ({error}): copy coco_cc/ again") from error
    return split(items, HELD_OUT)


def joined(captions: Sequence[str], first: int) -> str:
    """Captions as sentences one after another, from one of them on and around, until they have 24 words."""
    text = ""
    for place in range(len(captions)):
        text = f"{text} {_sentence(captions[(first + place) % len(captions)])}".strip()
        if len(text.split()) >= LEAST_WORDS:
            break
    return text


def _item(folder: Path, row: Mapping[str, Any], known: Sequence[str]) -> Item:
    captions = [one for one in row["captions"] if one.strip()]
    short = tuple(_sentence(one) for one in captions)
    detail = tuple(joined(captions, first) for first in range(len(captions)))
    counts = row["object_counts"] or {}
    questions = [
        Question("caption", SHORT, short),
        Question("long caption", DETAIL, detail),
        *(Question("count", f"How many of these are in the picture: {name}?", (str(counts[name]),)) for name in counts),
    ]
    absent = sorted((name for name in known if name not in counts), key=lambda name: draw(row["file_name"], name))
    # As many questions with "no" as with "yes", where the counts are known.
    for name, answer in [*((name, "yes") for name in counts), *((name, "no") for name in absent[: len(counts)])]:
        questions.append(Question("presence", f"Is there {_article(name)} {name} in the picture?", (answer,)))
    facts = sorted(
        ((one.text, one.references[0]) for one in questions[2:]), key=lambda pair: draw(row["file_name"], *pair)
    )
    conversations = [
        *(((SHORT, one),) for one in short),
        *(((DETAIL, one),) for one in detail),
        *(tuple(facts[begin : begin + 5]) for begin in range(0, len(facts), 5)),
    ]
    name = folder / row["file_name"]
    return Item(name.read_bytes(), name.suffix, tuple(conversations), tuple(questions))


def _sentence(caption: str) -> str:
    text = " ".join(caption.split()).rstrip(". ")
    return f"{text[:1].upper()}{text[1:]}."


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"
