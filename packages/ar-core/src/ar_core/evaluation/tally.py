"""Figures of one decoder over the problems of an evaluation."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import sqrt
from statistics import fmean
from typing import Any

from ..decoding import DecodeStats
from .acceptance import acceptance_by_position

__all__ = ["Tally"]

PHASES = ("prefill", "draft", "search", "verify")
"""In this order where a decoder has them; its others ("step", "denoise", "commit" ...) follow."""


class Tally:
    """The records of one decoder, summed up.

    Args:
        records: one for each problem, as an evaluation notes them: ``id``, ``category``, ``correct`` (or None), ``values``,
            ``tokens`` (ids), ``finish``, ``seconds`` (wall clock of this problem, decoding only) and ``stats``
            (``DecodeStats.to_dict``).
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.records = {record["id"]: record for record in records}
        stats = [DecodeStats.from_dict(record["stats"]) for record in self.records.values()]
        self.stats = sum(stats, DecodeStats())
        self.by_category: dict[str, DecodeStats] = {}
        for record, one in zip(self.records.values(), stats, strict=True):
            name = record["category"]
            self.by_category[name] = self.by_category.get(name, DecodeStats()) + one

    @property
    def seconds(self) -> float:
        """Wall clock of decoding, everything between ids in and ids out."""
        return float(sum(record["seconds"] for record in self.records.values()))

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens only, over the wall clock that made them, prefill included."""
        return sum(self.stats.generated) / self.seconds if self.seconds else 0.0

    def accuracy(self, category: str | None = None) -> float | None:
        """Share of problems solved, in all or of a category; None where nothing was judged."""
        judged = [
            record["correct"]
            for record in self.records.values()
            if record["correct"] is not None and category in (None, record["category"])
        ]
        return sum(judged) / len(judged) if judged else None

    def to_dict(self) -> dict[str, Any]:
        """All figures but those that need a baseline; JSON-able."""
        accuracy = self.accuracy()
        categories = sorted(name for name in self.by_category if name)
        figures: dict[str, Any] = {"problems": len(self.records)}
        if accuracy is not None:
            judged = sum(record["correct"] is not None for record in self.records.values())
            figures |= {"accuracy": accuracy, "standard_error": sqrt(accuracy * (1 - accuracy) / judged)}
            figures["accuracy_by_category"] = {name: self.accuracy(name) for name in categories}
        names = sorted({name for record in self.records.values() for name in record["values"]})
        for name in names:
            figures[name] = fmean(
                record["values"][name] for record in self.records.values() if name in record["values"]
            )
        if self.stats.nfe:
            figures |= self._decoding(categories)
        return {**figures, "seconds": self.seconds}

    def against(self, baseline: "Tally") -> dict[str, Any]:
        """Figures beside a baseline's, over the problems that both have.

        Returns:
            ``speed`` (ratio of their tokens per second), ``speed_mean_of_problems`` (mean over problems of their
            ratios, Spec-Bench's way) and ``identical`` (share of outputs with the baseline's very tokens).
        """
        common = [(record, baseline.records[name]) for name, record in self.records.items() if name in baseline.records]
        mine, theirs = (Tally(pair[side] for pair in common).tokens_per_second for side in (0, 1))
        if not mine or not theirs:
            return {}
        ratios = [_rate(record) / _rate(other) for record, other in common if record["tokens"] and other["tokens"]]
        return {
            "speed": mine / theirs,
            "speed_mean_of_problems": fmean(ratios) if ratios else None,
            "identical": sum(record["tokens"] == other["tokens"] for record, other in common) / len(common),
        }

    def _decoding(self, categories: list[str]) -> dict[str, Any]:
        stats = self.stats
        spent = {name: float(stats.seconds[name]) for name in _ordered(stats.seconds)}
        return {
            "tokens_per_forward": stats.tokens_per_forward,
            "tokens_per_forward_by_category": {name: self.by_category[name].tokens_per_forward for name in categories},
            "nfe": stats.nfe,
            "forwards": {name: stats.forwards[name] for name in _ordered(stats.forwards)},
            "generated_tokens": sum(stats.generated),
            "tokens_per_second": self.tokens_per_second,
            "seconds_by_phase": {**spent, "outside": max(0.0, self.seconds - sum(spent.values()))},
            "accepted": {str(n): times for n, times in sorted(stats.accepted.items())},
            "acceptance_by_position": [asdict(one) for one in acceptance_by_position(stats.accepted)],
            **({"drafts": drafts} if (drafts := stats.drafts()) else {}),
            **self._rounds(),
        }

    def _rounds(self) -> dict[str, float]:
        """Spec-Bench's mean accepted tokens, both ways in which they are counted; of verifiers alone.

        A round is a pass behind the prefill; it commits the draft tokens that it accepts and one of the verifier's own.
        """
        stats = self.stats
        if not stats.forwards["verify"]:
            return {}
        rounds = sum(stats.row_forwards.values()) - stats.row_forwards["prefill"]
        fixed = sum(tokens * times for tokens, times in stats.accepted.items()) - stats.row_forwards["prefill"]
        return {"committed_per_round": fixed / rounds, "accepted_draft_per_round": fixed / rounds - 1}


def _ordered(phases: Mapping[str, Any]) -> list[str]:
    return sorted(phases, key=lambda name: (PHASES.index(name) if name in PHASES else len(PHASES), name))


def _rate(record: Mapping[str, Any]) -> float:
    return float(len(record["tokens"]) / record["seconds"])
