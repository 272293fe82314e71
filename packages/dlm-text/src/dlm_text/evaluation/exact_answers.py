"""The generated tasks as an evaluation; the protocol names the task."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.data.records import Record
from ar_core.evaluation import EvalProblem, Verdict

from ..tasks import held_out

__all__ = ["PROBLEMS", "SEED", "ExactAnswers", "build"]

PROBLEMS = 500
"""How many problems there are of a task."""
SEED = 20_000
"""Of the held-out problems, the same as in benchmarks/tasks."""


class ExactAnswers:
    """Held-out problems of one task.

    Args:
        task: one of ``dlm_text.tasks.TASKS``.
    """

    max_new_tokens = 160
    stop_strings: tuple[str, ...] = ()
    """Texts that end an answer; none."""

    def __init__(self, task: str) -> None:
        self._task = task
        self.problems = [
            # The template of these models ends a question with the newline that the prompt has.
            EvalProblem(
                str(number),
                ({"role": "user", "content": one.prompt.removesuffix("\n")},),
                one.task,
                f"problem {number} of {task}",
                reference={"answer": one.answer},
            )
            for number, one in enumerate(held_out(task, PROBLEMS, SEED))
        ]

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """Character for character."""
        return Verdict(text == problem.reference["answer"], text)

    def describe(self) -> Mapping[str, Any]:
        """Task, split and seed."""
        return {"protocol": self._task, "split": "held_out", "seed": SEED}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> ExactAnswers:
    """Problems of the task that the protocol names."""
    del records, examples
    return ExactAnswers(protocol)
