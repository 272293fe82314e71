"""HumanEval (arXiv 2107.03374) under the protocols of the papers: pass@1 of one greedy output.

``instruct``: an instruction to complete the function in a code block, through the chat template; the first Python block of the
answer is the program (Jacobi Forcing; Fast-dLLM v2 asks through EvalPlus, likewise zero-shot; 2048 new tokens).
``complete``: the prompt is continued as it is, up to the next top-level statement (Efficient-DLM, zero-shot, 512 new tokens).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.data.records import Record
from ar_core.evaluation import EvalProblem, Verdict

from .fields import text_field
from .python_block import python_block
from .sandbox import run_program, sandbox_description

__all__ = ["HumanEval", "build"]

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""The stop sequences of the HumanEval paper."""


class HumanEval:
    """The problems of one protocol.

    Args:
        records: ``task_id``, ``prompt``, ``entry_point``, ``test`` each.
        protocol: ``instruct`` or ``complete``.

    Raises:
        DataError: a record lacks a field.
    """

    def __init__(self, records: Sequence[Record], protocol: str) -> None:
        self._protocol = protocol
        self.max_new_tokens = 2048 if protocol == "instruct" else 512
        self.stop_strings = () if protocol == "instruct" else STOPS
        self.problems = [self._problem(record) for record in records]

    def _problem(self, record: Record) -> EvalProblem:
        code = text_field(record, "prompt")
        prompt: str | tuple[dict[str, str], ...] = code
        if self._protocol == "instruct":
            asked = f"Complete this Python function. Answer with the whole function in one code block.\n```python\n{code}```"
            prompt = ({"role": "user", "content": asked},)
        reference = {
            "prompt": code,
            "entry_point": text_field(record, "entry_point"),
            "test": text_field(record, "test"),
        }
        return EvalProblem(text_field(record, "task_id"), prompt, where=record.place, reference=reference)

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """Run the function against its tests."""
        ran = run_program(self.program(problem, text))
        return Verdict(ran.passed, ran.reason or "passed")

    def program(self, problem: EvalProblem, text: str) -> str:
        """What is run for an output: the function, the tests, and their call."""
        prompt, entry = problem.reference["prompt"], problem.reference["entry_point"]
        tests = f"{problem.reference['test']}\ncheck({entry})\n"
        if self._protocol == "complete":
            return f"{prompt}{text}\n{tests}"
        block = python_block(text)
        start = re.search(rf"^def {re.escape(entry)}\b", prompt, re.MULTILINE)
        if re.search(rf"^def {re.escape(entry)}\b", block, re.MULTILINE) and start:
            # Imports and functions before the one in question, which an answer need not repeat.
            return f"{prompt[: start.start()]}{block}\n{tests}"
        return f"{prompt}{block}\n{tests}"

    def describe(self) -> Mapping[str, Any]:
        """Protocol and sandbox."""
        return {"protocol": self._protocol, "shots": 0, "sandbox": sandbox_description()}


def build(records: Sequence[Record], *, protocol: str, examples: Sequence[Record]) -> HumanEval:
    """HumanEval under a protocol; see :class:`HumanEval`."""
    del examples
    return HumanEval(records, protocol)
