"""All arms on the same prompts, and what each token cost them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ar_core.environment import portable
from ar_core.evaluation import EvalProblem
from ar_decode.session import Session

from benchmarks.lossless.measuring import measure as measure_lossless

from .arms import MeteredArm
from .trained import Trained

__all__ = ["measure"]


def measure(
    session: Session,
    trained: Trained,
    arms: Sequence[MeteredArm],
    problems: Sequence[tuple[EvalProblem, list[int]]],
    notes: Path,
    *,
    max_new_tokens: int,
    data: str,
    progress: Callable[[], None],
) -> dict[str, Any]:
    """Decode every prompt with every arm, greedily.

    Args:
        session: the verifier.
        trained: the drafters.
        arms: AR first.
        problems: with their ids.
        notes: journal of finished answers; an existing one is continued.
        max_new_tokens: N.
        data: what the problems are.
        progress: called after each answer.

    Returns:
        JSON-able: as ``benchmarks.lossless``, with the drafters described, and for each row, in all and by category, the
        passes of verifier and drafter and the operations of both per token.
    """
    results = measure_lossless(
        session, arms, problems, notes, max_new_tokens=max_new_tokens, data=data, progress=progress
    )
    for row in results["rows"]:
        for part in (row, *row["by_category"].values()):
            _add_totals(part)
    drafters = {str(arm.describe()["drafter"]): arm.drafter for arm in arms if arm.drafter is not None}
    return {
        **results,
        "kind": "diffuspec",
        "layout": trained.layout,
        "drafters": {
            name: {
                "path": portable(str(path)),
                "layers": drafters[str(path)].config.num_hidden_layers,
                "parameters": sum(weight.numel() for weight in drafters[str(path)].model.parameters()),
            }
            for name, path in trained.drafters.items()
            if str(path) in drafters
        },
    }


def _add_totals(part: dict[str, Any]) -> None:
    """Passes of the verifier and operations of both models, per token."""
    costs: Mapping[str, float] = part["costs_per_token"]
    part["costs_per_token"] = {
        "verifier_forwards": 1 / part["tokens_per_forward"] if part["tokens_per_forward"] else None,
        "drafter_forwards": 0.0,
        **costs,
        "flops": costs.get("verifier_flops", 0) + costs.get("drafter_flops", 0),
    }
