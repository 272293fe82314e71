"""What every set is brought to: pictures with conversations to learn from, or with questions to be asked."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ar_core.errors import DataError

__all__ = ["Item", "Question", "Sides", "apart", "draw", "split", "write_side"]


@dataclass(frozen=True)
class Question:
    """Asked of a model, its answer held against the references."""

    kind: str
    """Kind of question, each with a chance of its own."""
    text: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """A picture and what is said about it."""

    picture: bytes | None
    """The file; None for text alone."""
    suffix: str = ".png"
    conversations: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Each a sequence of (question, answer), for training."""
    questions: tuple[Question, ...] = field(default=())
    """For the held-out side."""

    @property
    def name(self) -> str:
        """A hash of the picture, so that equal pictures are one."""
        assert self.picture is not None
        return hashlib.sha256(self.picture).hexdigest()[:20]


@dataclass(frozen=True)
class Sides:
    """A set, split."""

    train: Sequence[Item]
    held_out: Sequence[Item]


def draw(*words: object) -> int:
    """A number in [0, 2^64) that depends on the words alone."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:8])


def apart(train: Iterable[Item], held_out: Iterable[Item]) -> Sides:
    """The sides without those training items whose picture is held out, byte for byte."""
    tested = list(held_out)
    names = {item.name for item in tested}
    return Sides([item for item in train if item.name not in names], tested)


def split(items: Iterable[Item], share: float) -> Sides:
    """Hold out about a share of the pictures, by a hash of each."""
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[draw(item.name) < share * 2**64].append(item)
    return Sides(*sides)


def write_side(folder: Path, name: str, items: Sequence[Item], *, train: bool) -> int:
    """Write one side of a set as JSON Lines, with its pictures below ``images/NAME``.

    Args:
        folder: of all sets.
        name: of the set.
        items: in their order.
        train: conversations of the published format; else a question a line, with ``kind`` and ``answers``.

    Returns:
        How many lines there are.

    Raises:
        DataError: there are none.
    """
    lines: list[Mapping[str, Any]] = []
    for number, item in enumerate(items):
        picture = {} if item.picture is None else {"image": f"images/{name}/{item.name}{item.suffix}"}
        if item.picture is not None:
            path = folder / picture["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.picture)
        if train:
            for place, turns in enumerate(item.conversations):
                lines.append(
                    {"id": f"{name}-{number}-{place}", **picture, "conversations": _turns(turns, bool(picture))}
                )
        else:
            for place, asked in enumerate(item.questions):
                question = {"kind": asked.kind, "question": asked.text, "answers": list(asked.references)}
                lines.append({"id": f"{name}-{number}-{place}", **picture, **question})
    if not lines:
        raise DataError(f"the {'training' if train else 'held-out'} side of {name} is empty: give more data")
    file = folder / f"{name}_{'train' if train else 'held_out'}.jsonl"
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def _turns(turns: Sequence[tuple[str, str]], pictured: bool) -> list[dict[str, str]]:
    """The picture stands in front of the first question."""
    found = []
    for place, (question, answer) in enumerate(turns):
        asked = f"<image>\n{question}" if pictured and not place else question
        found += [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return found
