"""Quality and speed together: every decoder on every problem, in turn, each finished piece noted on the disk."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ar_core.decoding import DecodeStats, text_before
from ar_core.decoding.collapse import collapse_columns
from ar_core.evaluation import Benchmark, EvalProblem, Journal, LikelihoodBenchmark, Tally, accuracy_under_parallelism

from .likelihood import encode_pair, log_likelihood
from .methods import Generation, Method
from .session import Session

__all__ = ["BASELINE", "KEY", "EvalArm", "aup_by_method", "fingerprint", "generate", "rows_of", "score"]

BASELINE = "ar"
"""Label of the arm that all others are compared with."""
KEY = ("arm", "id")
"""What tells the pieces of the job apart."""

Selected = Sequence[tuple[EvalProblem, list[int]]]


@dataclass(frozen=True)
class EvalArm:
    """A decoder under evaluation.

    Attributes:
        label: unique; the method and what was varied of it.
        session: its model.
        method: how it decodes.
    """

    label: str
    session: Session
    method: Method

    def describe(self) -> dict[str, Any]:
        """Method, settings, model and dtype; JSON-able."""
        return {
            "method": self.method.describe(),
            "model": {"source": self.session.source, "revision": self.session.revision},
            **self.session.runs_as,
        }


def fingerprint(problems: Sequence[EvalProblem]) -> str:
    """SHA-256 of everything that the problems consist of."""
    return hashlib.sha256(repr([(p.id, p.prompt, p.choices, p.reference) for p in problems]).encode()).hexdigest()


def generate(
    arms: Sequence[EvalArm],
    benchmark: Benchmark,
    problems: Selected,
    generation: Generation,
    journal: Journal,
    progress: Callable[[], None],
) -> None:
    """Let every arm answer every problem that the journal does not have yet, one at a time.

    Arms take turns on each problem and a different one begins each time, so that whatever else the machine does falls on all of
    them alike. One problem of each goes before, untimed.

    Args:
        arms: the baseline first.
        benchmark: judges.
        problems: with their ids; problem i draws random stream i.
        generation: length, stops, sampling.
        journal: of this job.
        progress: called after each piece, those in the journal included.
    """
    warm_up = Generation(min(8, generation.max_new_tokens))
    for arm in arms:
        if any((arm.label, problem.id) not in journal for problem, _ in problems):
            arm.method.decode(arm.session, [problems[0][1]], warm_up)
    for number, (problem, ids) in enumerate(problems):
        first = number % len(arms)
        for arm in [*arms[first:], *arms[:first]]:
            if (arm.label, problem.id) not in journal:
                begun = time.perf_counter()
                decoded = arm.method.decode(arm.session, [ids], generation, first_index=number)
                seconds = time.perf_counter() - begun
                text = text_before(arm.session.text(decoded.tokens[0]), generation.stop_strings)
                verdict = benchmark.judge(problem, text)
                journal.add(
                    {
                        **_piece(arm, problem, asdict(verdict), seconds, decoded.stats),
                        "output": text,
                        "tokens": decoded.tokens[0],
                        "finish": decoded.finish[0],
                    }
                )
            progress()


def score(
    arms: Sequence[EvalArm],
    benchmark: LikelihoodBenchmark,
    problems: Sequence[EvalProblem],
    journal: Journal,
    progress: Callable[[], None],
    *,
    estimators: Mapping[str, str],
    samples: int,
    seed: int,
) -> None:
    """Score the choices of every problem under every arm.

    Args:
        arms: the baseline first.
        benchmark: judges the likelihoods.
        problems: with choices.
        journal: of this job.
        progress: called after each piece.
        estimators: of each arm by label.
        samples: K of ``nelbo``.
        seed: of its masks.
    """
    for problem in problems:
        for arm in arms:
            if (arm.label, problem.id) not in journal:
                context = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[-1]["content"]
                pairs = [encode_pair(arm.session.tokenizer, context, choice) for choice in problem.choices]
                begun = time.perf_counter()
                found = [
                    log_likelihood(
                        arm.session,
                        arm.method,
                        before,
                        after,
                        estimator=estimators[arm.label],
                        samples=samples,
                        seed=seed,
                    )
                    for before, after in pairs
                ]
                seconds = time.perf_counter() - begun
                totals = [one.total for one in found]
                verdict = benchmark.judge_likelihoods(problem, totals, [one.tokens for one in found])
                journal.add(
                    {
                        **_piece(arm, problem, asdict(verdict), seconds, DecodeStats()),
                        "log_likelihoods": totals,
                        "tokens": [],
                        "finish": "",
                    }
                )
            progress()


def rows_of(arms: Sequence[EvalArm], journal: Journal) -> list[dict[str, Any]]:
    """One row of figures for each arm, beside the baseline's; JSON-able."""
    pieces = list(journal.done.values())
    tallies = {arm.label: Tally(piece for piece in pieces if piece["arm"] == arm.label) for arm in arms}
    reference = tallies[arms[0].label]
    collapses = {label: _collapse(tally) for label, tally in tallies.items()}
    rows = []
    for arm in arms:
        tally, collapse = tallies[arm.label], collapses[arm.label]
        row = {"name": arm.label, **arm.describe(), **tally.to_dict(), **tally.against(reference)}
        base = collapses[arms[0].label]
        if collapse is not None and base is not None:
            row |= {"collapse": asdict(collapse), "collapsed": collapse.collapsed(base)}
        rows.append(row)
    return rows


def aup_by_method(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """AUP of each method over its rows, with the best accuracy of all rows; empty where nothing was judged."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.get("accuracy") is not None and row.get("tokens_per_forward"):
            points.setdefault(row["method"]["name"], []).append((row["tokens_per_forward"], row["accuracy"]))
    best = max((accuracy for curve in points.values() for _, accuracy in curve), default=0.0)
    return {name: accuracy_under_parallelism(curve, best=best or None) for name, curve in points.items()}


def _piece(
    arm: EvalArm, problem: EvalProblem, verdict: Mapping[str, Any], seconds: float, stats: DecodeStats
) -> dict[str, Any]:
    return {
        "arm": arm.label,
        "id": problem.id,
        "category": problem.category,
        **verdict,
        "seconds": seconds,
        "stats": stats.to_dict(),
    }


def _collapse(tally: Tally) -> Any:
    outputs = [record["tokens"] for record in tally.records.values()]
    if not any(outputs):
        return None
    return collapse_columns(outputs, [record["finish"] for record in tally.records.values()])
