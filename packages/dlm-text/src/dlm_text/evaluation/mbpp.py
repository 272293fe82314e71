"""MBPP (arXiv 2108.07732) under the protocols of the papers: pass@1 of one greedy output on test problems 11 to 510.

``few_shot``: the paper's prompt with its problems 2, 3 and 4 solved before it, between [BEGIN] and [DONE] (Efficient-DLM,
three shots, 512 new tokens). ``instruct``: the task and its tests through the chat template, answered in a code block
(Jacobi Forcing, Fast-dLLM v2; 2048 new tokens).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.data.records import Record
from ar_core.errors import DataError
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field, texts_field
from .python_block import python_block
from .sandbox import run_program, sandbox_description

__all__ = ["MBPP", "SHOTS", "TEST", "build"]

SHOTS = (2, 3, 4)
"""Problems that are shown solved."""
TEST = range(11, 511)
"""Problems that are asked."""


class MBPP:
    """The problems of one protocol.

    Args:
        records: ``task_id``, ``text`` (or ``prompt``), ``code``, ``test_list`` each; those of other numbers are left out.
        protocol: ``instruct`` or ``few_shot``.
        examples: records among which the shown problems are, if not among ``records``.

    Raises:
        DataError: a record lacks a field, no test problem is there, or one that is shown is missing.
    """

    def __init__(self, records: Sequence[Record], protocol: str, examples: Sequence[Record]) -> None:
        self._protocol = protocol
        self.max_new_tokens = 2048 if protocol == "instruct" else 512
        self.stop_strings: tuple[str, ...] = () if protocol == "instruct" else ("[DONE]",)
        shown = ""
        if protocol == "few_shot":
            known = {_number(record): record for record in [*records, *examples]}
            missing = [number for number in SHOTS if number not in known]
            if missing:
                raise DataError(
                    f"mbpp few_shot shows the problems {', '.join(map(str, SHOTS))} solved and {missing[0]} is not in the data; give "
                    "the file of all 974 problems, or the prompt split with --examples."
                )
            shown = "".join(f"{_asked(known[n])}[BEGIN]\n{text_field(known[n], 'code')}\n[DONE]\n\n" for n in SHOTS)
        asked = [record for record in records if _number(record) in TEST]
        if not asked:
            raise DataError(
                f"the data hold no test problem of MBPP (task_id {TEST[0]} to {TEST[-1]}); give its file in the original layout."
            )
        self.problems = [self._problem(record, shown) for record in asked]

    def _problem(self, record: Record, shown: str) -> EvalProblem:
        prompt: str | tuple[dict[str, str], ...] = f"{shown}{_asked(record)}[BEGIN]\n"
        if self._protocol == "instruct":
            prompt = ({"role": "user", "content": f"{_asked(record)}Answer with one code block."},)
        setup = record.data.get("test_setup_code") or "\n".join(record.data.get("test_imports") or [])
        reference = {"setup": setup, "tests": texts_field(record, "test_list")}
        return EvalProblem(str(_number(record)), prompt, where=record.place, reference=reference)

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """Run the program, then its tests."""
        ran = run_program(self.program(problem, text))
        return Verdict(ran.passed, ran.reason or "passed")

    def program(self, problem: EvalProblem, text: str) -> str:
        """What is run for an output: the program, then its tests."""
        code = python_block(text.partition("[DONE]")[0])
        return "\n".join([problem.reference["setup"], code, *problem.reference["tests"], ""])

    def describe(self) -> Mapping[str, Any]:
        """Protocol, shots and sandbox."""
        shots = len(SHOTS) if self._protocol == "few_shot" else 0
        return {"protocol": self._protocol, "shots": shots, "sandbox": sandbox_description()}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> MBPP:
    """MBPP under a protocol; see :class:`MBPP`."""
    return MBPP(records, protocol, examples)


def _number(record: Record) -> int:
    number = record.data.get("task_id")
    if not isinstance(number, int):
        raise DataError(f"{record.place}: 'task_id' is {number!r}; it must be the number of an MBPP problem.")
    return number


def _asked(record: Record) -> str:
    tests = "\n".join(texts_field(record, "test_list"))
    return (
        f"You are an expert Python programmer, and here is your task: {text_field(record, 'text', 'prompt').strip()} "
        f"Your code should pass these tests:\n\n{tests}\n"
    )
