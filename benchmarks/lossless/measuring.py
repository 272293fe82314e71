"""All arms on the same prompts, in turn, each answer noted on the disk."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ar_core.environment import environment, portable
from ar_core.evaluation import EvalProblem, Journal, Tally
from ar_core.verification import first_difference
from ar_decode.evaluation import fingerprint
from ar_decode.session import Session

from .arms import AR, Arm

__all__ = ["KEY", "measure"]

KEY = ("arm", "settings", "id")
"""A decoder whose settings changed is measured anew; others can join a job later."""
WARM_UP = 8
"""Tokens that each arm decodes untimed before its first answer."""


def measure(
    session: Session,
    arms: Sequence[Arm],
    problems: Sequence[tuple[EvalProblem, list[int]]],
    notes: Path,
    *,
    max_new_tokens: int,
    data: str = "Spec-Bench, first turns",
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Decode every prompt with every arm, greedily, and hold the outputs against AR's.

    Args:
        session: the model.
        arms: AR among them; each begins in turn.
        problems: with their ids.
        notes: journal of finished answers; an existing one is continued.
        max_new_tokens: N.
        data: what the problems are.
        progress: called after each answer.

    Returns:
        JSON-able: one row per arm; ``identical`` is the share of outputs with AR's very tokens, ``first_differences`` tell the
        step and the margin by which the token found falls short of AR's best logit (None: it ended without a stop token).
        ``costs_per_token`` has what the arms count beside passes of the model, ``by_category`` the main figures of each kind.
    """
    job = {
        "model": session.source,
        "revision": session.revision,
        "dtype": session.dtype,
        "device": session.device,
        "max_new_tokens": max_new_tokens,
        "prompts": fingerprint([problem for problem, _ in problems]),
    }
    settings = {arm.label: json.dumps(arm.describe(), sort_keys=True) for arm in arms}
    with Journal(notes, job, KEY) as journal:
        before = len(journal)
        for arm in arms:
            if any((arm.label, settings[arm.label], problem.id) not in journal for problem, _ in problems):
                arm.answer(problems[0][1], min(WARM_UP, max_new_tokens))
        for number, (problem, ids) in enumerate(problems):
            first = number % len(arms)
            for arm in [*arms[first:], *arms[:first]]:
                if (arm.label, settings[arm.label], problem.id) not in journal:
                    answer = arm.answer(ids, max_new_tokens)
                    journal.add(
                        {
                            "arm": arm.label,
                            "settings": settings[arm.label],
                            "id": problem.id,
                            "category": problem.category,
                            "correct": None,
                            "values": {},
                            "tokens": answer.tokens,
                            "finish": answer.finish,
                            "seconds": answer.seconds,
                            "stats": answer.stats.to_dict(),
                            "costs": answer.costs,
                        }
                    )
                progress()
        wanted = {problem.id for problem, _ in problems}
        tallies = {
            arm.label: Tally(
                piece
                for piece in journal.done.values()
                if (piece["arm"], piece["settings"]) == (arm.label, settings[arm.label]) and piece["id"] in wanted
            )
            for arm in arms
        }
    prompts = {problem.id: ids for problem, ids in problems}
    return {
        "kind": "lossless",
        "model": {"source": portable(session.source), "revision": session.revision, "dtype": session.dtype},
        "data": {
            "set": data,
            "ids": [problem.id for problem, _ in problems],
            "max_new_tokens": max_new_tokens,
        },
        "batch": 1,
        "resumed_with": before,
        "environment": environment(session.device),
        "rows": [
            {
                "name": arm.label,
                "settings": portable(arm.describe()),
                **tallies[arm.label].to_dict(),
                **tallies[arm.label].against(tallies[AR]),
                "costs_per_token": _costs(tallies[arm.label]),
                "by_category": _by_category(tallies[arm.label], tallies[AR]),
                "first_differences": _differences(session, prompts, tallies[AR], tallies[arm.label]),
            }
            for arm in arms
        ],
    }


def _costs(tally: Tally) -> dict[str, float]:
    """Costs of all prompts over the tokens of all prompts."""
    total: Counter[str] = Counter()
    for record in tally.records.values():
        total.update(record.get("costs", {}))
    tokens = sum(tally.stats.generated)
    return {name: cost / tokens for name, cost in total.items()} if tokens else {}


def _by_category(tally: Tally, baseline: Tally) -> dict[str, dict[str, Any]]:
    found = {}
    for name in sorted(tally.by_category):
        own, other = (
            Tally(record for record in one.records.values() if record["category"] == name) for one in (tally, baseline)
        )
        found[name] = {
            "tokens_per_forward": own.stats.tokens_per_forward,
            **own.against(other),
            "costs_per_token": _costs(own),
        }
    return found


def _differences(session: Session, prompts: dict[str, list[int]], ar: Tally, other: Tally) -> list[dict[str, Any]]:
    differences = []
    for name, record in other.records.items():
        found = first_difference(
            session.backbone,
            prompts[name],
            ar.records[name]["tokens"],
            record["tokens"],
            stop_ids=session.stop_ids,
            banned_ids=session.banned_ids,
        )
        if found is not None:
            margin = found.margin if math.isfinite(found.margin) else None
            differences.append({"id": name, **asdict(found), "margin": margin})
    return differences
