"""The prompts that decoders are held against each other on."""

from collections.abc import Sequence
from pathlib import Path

from ar_core.evaluation import EvalProblem, evaluation_records
from ar_core.registry import evaluation, resolve
from ar_decode.evaluation import EvalArm
from ar_decode.evaluation_task import select

from .arms import RegisteredArm

__all__ = ["first_of_each_kind", "spec_bench"]


def spec_bench(data: Path) -> list[EvalProblem]:
    """The first turns of Spec-Bench, of six kinds.

    Args:
        data: its file.

    Raises:
        DataError: the file is missing or malformed.
    """
    record = evaluation("spec_bench")
    records = evaluation_records(str(data), None, record.name)
    return resolve(record.build)(records, protocol="first_turn", examples=[]).problems


def first_of_each_kind(
    problems: Sequence[EvalProblem], arms: Sequence[RegisteredArm], *, per_category: int, max_new_tokens: int
) -> list[tuple[EvalProblem, list[int]]]:
    """The first prompts of each kind that fit, with their ids.

    Args:
        problems: in their order.
        arms: all of them must be able to take every prompt.
        per_category: prompts of a kind.
        max_new_tokens: N.

    Raises:
        DataError: nothing fits.
    """
    return select(
        [EvalArm(arm.label, arm.session, arm.method) for arm in arms],
        problems,
        max_new_tokens,
        limit=None,
        per_category=per_category,
        chat=None,
    )
