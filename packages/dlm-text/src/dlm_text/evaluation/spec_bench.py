"""Spec-Bench (arXiv 2401.07851): how fast are six kinds of prompts decoded?

The 80 questions of MT-Bench, whose eight categories make one kind, are taken in turn from each category, so that the first few
are not all of one. Only first turns are asked; a later one would need the answers of each decoder as its context, and the
decoders would no longer have equal prompts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.data.records import Record
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field, texts_field

__all__ = ["MT_BENCH", "SpecBench", "build"]

MT_BENCH = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
"""Categories that are reported as one, ``mt_bench``."""


class SpecBench:
    """The prompts.

    Args:
        records: ``question_id``, ``category`` and ``turns`` each.

    Raises:
        DataError: a record lacks a field.
    """

    max_new_tokens = 1024
    stop_strings: tuple[str, ...] = ()
    """Texts that end an answer; none."""

    def __init__(self, records: Sequence[Record]) -> None:
        seen: Counter[str] = Counter()
        ranked = []
        for number, record in enumerate(records):
            category = text_field(record, "category")
            turn = texts_field(record, "turns")[0]
            kind = "mt_bench" if category in MT_BENCH else category
            name = str(record.data.get("question_id", number))
            problem = EvalProblem(name, ({"role": "user", "content": turn},), kind, record.place)
            ranked.append((seen[category] if kind == "mt_bench" else 0, problem))
            seen[category] += 1
        # Stable: file order within a rank, and the other kinds stay in file order.
        self.problems = [problem for _, problem in sorted(ranked, key=lambda pair: pair[0])]

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """No answer is right or wrong."""
        del problem, text
        return Verdict(None)

    def describe(self) -> Mapping[str, Any]:
        """Protocol."""
        return {"protocol": "first_turn"}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> SpecBench:
    """Spec-Bench; see :class:`SpecBench`."""
    del protocol, examples
    return SpecBench(records)
