"""Likelihood of whole texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.data.records import Record
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field

__all__ = ["Perplexity", "build"]


class Perplexity:
    """Texts, each scored from its beginning-of-sequence token on.

    Args:
        records: ``text`` each.

    Raises:
        DataError: a record has no text.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.problems = [
            EvalProblem(str(number), "", where=record.place, choices=(text_field(record, "text"),))
            for number, record in enumerate(records)
        ]

    def judge_likelihoods(self, problem: EvalProblem, totals: Sequence[float], tokens: Sequence[int]) -> Verdict:
        """``nats_per_token`` and ``bits_per_byte`` of the text; their means over texts are reported."""
        size = max(1, len(problem.choices[0].encode()))
        return Verdict(
            None,
            "",
            {"nats_per_token": -totals[0] / tokens[0], "bits_per_byte": -totals[0] / size / math.log(2)},
        )

    def describe(self) -> Mapping[str, Any]:
        """Protocol."""
        return {"protocol": "whole"}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> Perplexity:
    """Texts; see :class:`Perplexity`."""
    del protocol, examples
    return Perplexity(records)
