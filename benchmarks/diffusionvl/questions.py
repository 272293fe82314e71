"""Held-out questions by kind, and what guessing is worth."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import DataError
from dvlm.decoding.requests import Request, read_requests
from dvlm.evaluation.vqa_accuracy import exact_match

from ..image_text.prepare import PRIORS, SETS
from ..image_text.records import draw

__all__ = ["ANSWERS", "TEXTS", "Kind", "digest", "held_out_kinds"]

ANSWERS = {"shape": 8, "color": 8, "yes or no": 8, "statement": 8, "presence": 8, "count": 8, "emoji kind": 8}
"""Kinds whose answers are right or wrong, with the most tokens of one."""
TEXTS = {"description": 64, "caption": 48, "long caption": 96, "emoji name": 24}
"""Kinds that are answered by a text, likewise."""


@dataclass(frozen=True)
class Kind:
    """The questions of one kind that are asked."""

    name: str
    requests: list[Request]
    max_new_tokens: int
    chance: float
    """Of an answer drawn evenly among those that training has."""
    majority: float
    """Accuracy, on these questions, of the answer that is most frequent in training."""

    @property
    def references(self) -> list[list[str]]:
        """Of each question."""
        return [list(one.data["answers"]) for one in self.requests]


def held_out_kinds(data: Path, *, questions: int, captions: int) -> dict[str, Kind]:
    """Read the held-out sides, and take so many questions of each kind, by a hash of each.

    Args:
        data: what `benchmarks.image_text` prepared.
        questions: of each kind of :data:`ANSWERS` at most.
        captions: of each kind of :data:`TEXTS` at most.

    Raises:
        DataError: the folder lacks something.
    """
    try:
        priors = json.loads((data / PRIORS).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{data / PRIORS} cannot be read ({error.strerror}): run `python -m benchmarks.image_text prepare` first"
        ) from error
    by_kind: dict[str, list[Request]] = {}
    for name in SETS:
        for request in read_requests(data / f"{name}_held_out.jsonl", None, limit=1):
            by_kind.setdefault(request.data["kind"], []).append(request)
    found = {}
    for kind, tokens in (ANSWERS | TEXTS).items():
        most = questions if kind in ANSWERS else captions
        taken = sorted(by_kind.get(kind, ()), key=lambda one: draw(one.id))[:most]
        if not taken:
            raise DataError(f"{data} holds no held-out question of the kind {kind!r}: prepare it again")
        answers = priors[kind]
        usual = max(answers, key=lambda answer: (answers[answer], answer))
        right = [exact_match(usual, one.data["answers"]) for one in taken]
        found[kind] = Kind(kind, taken, tokens, 1 / len(answers), sum(right) / len(right))
    return found


def digest(data: Path) -> str:
    """Short SHA-256 of all conversations, questions and priors of a prepared folder, by which results of other data are told apart."""
    total = hashlib.sha256()
    for file in sorted([*data.glob("*.jsonl"), *data.glob("*.json"), *data.glob("*.yaml")]):
        total.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]
