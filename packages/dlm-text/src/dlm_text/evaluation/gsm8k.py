r"""GSM8K (arXiv 2110.14168) under the protocols of the papers.

``boxed``: zero-shot through the chat template, the question followed by an instruction to reason and to put the answer into
``\boxed{}``, 2048 new tokens (Fast-dLLM v2, arXiv 2509.26328, A.4; Jacobi Forcing's instruction models). ``few_shot``: eight
solved problems before the question as plain text, 256 new tokens (Efficient-DLM, arXiv 2512.14067, with lm-eval's prompt).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ar_core.data.records import Record
from ar_core.errors import DataError
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field
from .final_number import boxed_number, last_number, marked_number

__all__ = ["GSM8K", "SHOTS", "build"]

SHOTS = 8
"""Worked examples in front of a problem of the protocol `few_shot`."""
SUFFIX = "\nPlease reason step by step, and put your final answer within \\boxed{}."


class GSM8K:
    """The problems of one protocol.

    An output counts by the number in its box or behind its mark, else by its last number; ``strict`` counts the first kind
    alone.

    Args:
        records: ``question`` and ``answer`` each.
        protocol: ``boxed`` or ``few_shot``.
        examples: training records; the first eight are shown.

    Raises:
        DataError: a record lacks a field or its answer has no number; too few examples.
    """

    def __init__(self, records: Sequence[Record], protocol: str, examples: Sequence[Record]) -> None:
        self._protocol = protocol
        self._read = boxed_number if protocol == "boxed" else marked_number
        self.max_new_tokens = 2048 if protocol == "boxed" else 256
        self.stop_strings: tuple[str, ...] = () if protocol == "boxed" else ("Question:",)
        if protocol == "few_shot" and len(examples) < SHOTS:
            raise DataError(
                f"gsm8k few_shot shows {SHOTS} solved problems and {len(examples)} were given; give the training set with --examples."
            )
        shown = "".join(
            f"Question: {text_field(one, 'question')}\nAnswer: {text_field(one, 'answer')}\n\n"
            for one in examples[:SHOTS]
        )
        self.problems = [self._problem(number, record, shown) for number, record in enumerate(records)]

    def _problem(self, number: int, record: Record, shown: str) -> EvalProblem:
        question = text_field(record, "question").strip()
        target = marked_number(text_field(record, "answer"))
        if target is None:
            raise DataError(
                f"{record.place}: the answer has no number behind '####'; give GSM8K in its original layout."
            )
        prompt: str | tuple[dict[str, str], ...] = f"{shown}Question: {question}\nAnswer:"
        if self._protocol == "boxed":
            prompt = ({"role": "user", "content": question + SUFFIX},)
        return EvalProblem(str(number), prompt, where=record.place, reference={"target": str(target)})

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """Compare numbers, not texts."""
        target = Decimal(problem.reference["target"])
        strict = self._read(text)
        answer = last_number(text) if strict is None else strict
        return Verdict(answer == target, "" if answer is None else str(answer), {"strict": float(strict == target)})

    def describe(self) -> Mapping[str, Any]:
        """Protocol and shots."""
        return {"protocol": self._protocol, "shots": SHOTS if self._protocol == "few_shot" else 0}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> GSM8K:
    """GSM8K under a protocol; see :class:`GSM8K`."""
    return GSM8K(records, protocol, examples)
