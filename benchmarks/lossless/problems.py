"""The prompts that decoders are held against each other on."""

from collections.abc import Sequence
from pathlib import Path

from ar_core.evaluation import EvalProblem, evaluation_records
from ar_core.registry import evaluation, resolve
from ar_decode.evaluation import EvalArm
from ar_decode.evaluation_task import select

from .arms import RegisteredArm

__all__ = ["spec_bench"]


def spec_bench(
    data: Path, arms: Sequence[RegisteredArm], *, per_category: int, max_new_tokens: int
) -> list[tuple[EvalProblem, list[int]]]:
    """The first turns of Spec-Bench: the first prompts of each of its six kinds that fit, with their ids.

    Args:
        data: its file.
        arms: all of them must be able to take every prompt.
        per_category: prompts of a kind.
        max_new_tokens: N.

    Raises:
        DataError: the file is missing or malformed, or nothing fits.
    """
    record = evaluation("spec_bench")
    benchmark = resolve(record.build)(
        evaluation_records(str(data), None, record.name), protocol="first_turn", examples=[]
    )
    return select(
        [EvalArm(arm.label, arm.session, arm.method) for arm in arms],
        benchmark.problems,
        max_new_tokens,
        limit=None,
        per_category=per_category,
        chat=None,
    )
