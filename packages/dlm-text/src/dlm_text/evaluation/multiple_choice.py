"""Multiple choice by likelihood, as in ARC, HellaSwag, PIQA, WinoGrande and MMLU.

``continuation``: the text of each choice is scored as the continuation of the context (lm-eval's way for all but MMLU).
``letter``: the choices are listed in the prompt and their letters scored (MMLU's way; answers of one token, which is what the
first-token score of Fast-dLLM v2 is for).
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from ar_core.data.records import Record
from ar_core.errors import DataError
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field, texts_field

__all__ = ["MultipleChoice", "build"]


class MultipleChoice:
    """The problems of one protocol.

    Args:
        records: ``context`` (or ``question``), ``choices`` (texts; or ARC's ``{"text", "label"}``) and ``answer`` (index from
            0, or the label; or ARC's ``answerKey``) each; ``category`` if there is one.
        protocol: ``continuation`` or ``letter``.

    Raises:
        DataError: a record lacks a field, or its answer is none of the choices.
    """

    def __init__(self, records: Sequence[Record], protocol: str) -> None:
        self._protocol = protocol
        self.problems = [self._problem(number, record) for number, record in enumerate(records)]

    def _problem(self, number: int, record: Record) -> EvalProblem:
        context = text_field(record, "context", "question").strip()
        given = record.data.get("choices")
        unpacked = Record(record.place, {**record.data, **given} if isinstance(given, dict) else record.data)
        texts = texts_field(unpacked, "text" if isinstance(given, dict) else "choices")
        labels = list(unpacked.data.get("label") or ascii_uppercase[: len(texts)])
        answer = record.data.get("answer", record.data.get("answerKey"))
        right = labels.index(answer) if answer in labels else answer
        if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(texts):
            raise DataError(
                f"{record.place}: the answer is {answer!r}; it must be the index (from 0) or the letter of one of the "
                f"{len(texts)} choices."
            )
        if self._protocol == "letter":
            listed = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts, strict=False))
            context = f"{context}\n{listed}\nAnswer:"
            texts = list(ascii_uppercase[: len(texts)])
        return EvalProblem(
            str(record.data.get("id", number)),
            context,
            str(record.data.get("category", "")),
            record.place,
            tuple(f" {text}" for text in texts),
            {"right": right},
        )

    def judge_likelihoods(self, problem: EvalProblem, totals: Sequence[float], tokens: Sequence[int]) -> Verdict:
        """Whether the most likely choice is right; ``normalised``: the most likely per character, as lm-eval's acc_norm."""
        del tokens
        right = problem.reference["right"]
        # The space before a choice is no part of it.
        sizes = [max(1, len(choice) - 1) for choice in problem.choices]
        best = max(range(len(totals)), key=totals.__getitem__)
        per_character = max(range(len(totals)), key=lambda i: totals[i] / sizes[i])
        return Verdict(best == right, problem.choices[best].strip(), {"normalised": float(per_character == right)})

    def describe(self) -> Mapping[str, Any]:
        """Protocol."""
        return {"protocol": self._protocol, "shots": 0}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> MultipleChoice:
    """Multiple choice under a protocol; see :class:`MultipleChoice`."""
    del examples
    return MultipleChoice(records, protocol)
