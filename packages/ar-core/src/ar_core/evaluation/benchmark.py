"""An evaluation as packages offer it: problems, and a judge of what was generated for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

__all__ = ["Benchmark", "EvalProblem", "LikelihoodBenchmark", "Verdict"]


@dataclass(frozen=True)
class EvalProblem:
    """One problem.

    Attributes:
        id: unique within the evaluation.
        prompt: text to continue, or a conversation of ``{"role", "content"}`` mappings for a chat template.
        category: group for reports; empty if there are none.
        where: the place that it was read from, for messages.
        choices: continuations of the prompt whose likelihoods are compared; empty where text is generated.
        reference: what the judge needs to know.
    """

    id: str
    prompt: str | tuple[dict[str, str], ...]
    category: str = ""
    where: str = ""
    choices: tuple[str, ...] = ()
    reference: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    correct: whether the problem is solved; None where there is no right answer.
    answer: what was taken from the output as its answer, or why it failed; for people.
    values: further figures by name.
    """

    correct: bool | None
    answer: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Benchmark(Protocol):
    """An evaluation that generates."""

    @property
    def problems(self) -> Sequence[EvalProblem]:
        """All of them, in a fixed order."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """The protocol's limit of an output."""
        ...

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end an output."""
        ...

    def judge(self, problem: EvalProblem, text: str) -> Verdict:
        """Judge the text generated for a problem."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Protocol, and how outputs are judged here; JSON-able."""
        ...


@runtime_checkable
class LikelihoodBenchmark(Protocol):
    """An evaluation that compares or reports likelihoods of given texts."""

    @property
    def problems(self) -> Sequence[EvalProblem]:
        """All of them, each with ``choices``."""
        ...

    def judge_likelihoods(self, problem: EvalProblem, totals: Sequence[float], tokens: Sequence[int]) -> Verdict:
        """Judge log-likelihoods (nats) of the choices, beside their numbers of tokens."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Protocol; JSON-able."""
        ...
