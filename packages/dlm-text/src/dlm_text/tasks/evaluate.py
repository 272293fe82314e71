"""Exact-answer accuracy, tokens per forward and wall clock of decoders, side by side."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any

from ar_core.config import from_dict
from ar_core.decoding import Backbone, Decoded, DecodeStats, StopRule
from ar_core.registry import decoder, resolve
from ar_core.sampling import Sampler

from .problem import Problem
from .tokenizer import encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["MAX_ANSWER_TOKENS", "Arm", "Score", "arm", "evaluate"]

MAX_ANSWER_TOKENS = 160
"""Room for every answer of the tasks (127 tokens at most) and for a model that runs on past its end."""

Arm = Callable[[list[list[int]]], Decoded]
"""A decoder with all its settings: prompts (ids) in, output and statistics out."""


def arm(
    backbone: Backbone,
    tokenizer: "PreTrainedTokenizerBase",
    method: str = "ar",
    /,
    *,
    trace: bool = False,
    limit: Callable[[list[int]], int] | None = None,
    **options: Any,
) -> Arm:
    """A registered decoder, greedy, with its settings fixed.

    Args:
        backbone: the model.
        tokenizer: of the tasks.
        method: name of the decoder, as ``ar-decode`` lists them.
        trace: record which pass fixed which token.
        limit: N of a prompt; default ``MAX_ANSWER_TOKENS`` for all. A batch gets the largest of its prompts.
        options: the method's own settings, by the names of its options class.

    Raises:
        ConfigError: no such decoder or option.
    """
    record = decoder(method)
    settings = from_dict(resolve(record.options), options)
    decode = resolve(record.decode)
    stop_ids = frozenset({tokenizer.eos_token_id})

    def run(prompts: list[list[int]]) -> Decoded:
        stop = StopRule(stop_ids, MAX_ANSWER_TOKENS if limit is None else max(map(limit, prompts)))
        out: Decoded = decode(backbone, prompts, settings, stop=stop, sampler=Sampler(), trace=trace)
        return out

    return run


@dataclass
class Score:
    """How one decoder did on a set of problems, one at a time.

    Attributes:
        asked: problems by task.
        solved: problems with exactly the right answer, by task.
        stats: all forwards, seconds and generated tokens, prefill included.
    """

    asked: Counter[str] = field(default_factory=Counter)
    solved: Counter[str] = field(default_factory=Counter)
    stats: DecodeStats = field(default_factory=DecodeStats)

    def add(self, problem: Problem, text: str, stats: DecodeStats) -> bool:
        """Count one answer; whether it was right."""
        right = problem.solved_by(text)
        self.asked[problem.task] += 1
        self.solved[problem.task] += right
        self.stats = self.stats + stats
        return right

    @property
    def problems(self) -> int:
        """How many problems were asked."""
        return self.asked.total()

    @property
    def accuracy(self) -> float:
        """Share of problems with exactly the right answer, in [0, 1]."""
        return self.solved.total() / self.problems

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return sqrt(self.accuracy * (1 - self.accuracy) / self.problems)

    @property
    def seconds(self) -> float:
        """Wall clock of all passes."""
        return float(sum(self.stats.seconds.values()))

    def to_dict(self) -> dict[str, Any]:
        """Figures for a results file: accuracy, in total and by task, beside tokens per forward and wall clock."""
        return {
            "problems": self.problems,
            "accuracy": round(self.accuracy, 4),
            "standard_error": round(self.standard_error, 4),
            "accuracy_by_task": {task: round(self.solved[task] / n, 4) for task, n in sorted(self.asked.items())},
            "tokens_per_forward": round(self.stats.tokens_per_forward, 3),
            "tokens": sum(self.stats.generated),
            "forwards": dict(sorted(self.stats.forwards.items())),
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.stats.tokens_per_second, 1),
        }


def evaluate(
    arms: Mapping[str, Arm],
    problems: Sequence[Problem],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    on_answer: Callable[[str, Problem, bool, Decoded], None] | None = None,
) -> dict[str, Score]:
    """Let every decoder solve every problem, one problem at a time.

    Decoders take turns on each problem, and a different one begins each time: whatever else the machine does falls on
    all of them alike, so the ratio of their seconds means something on a shared one too.

    Args:
        arms: decoders by name.
        problems: what to solve; held-out ones for any claim.
        tokenizer: of the tasks.
        on_answer: called with arm, problem, whether it was right, and the output.

    Returns:
        One score per arm, under the same names.
    """
    scores = {name: Score() for name in arms}
    names = list(arms)
    for number, problem in enumerate(problems):
        prompt = encode_prompt(tokenizer, problem.prompt)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            decoded = arms[name]([prompt])
            text = str(tokenizer.decode(decoded.tokens[0], skip_special_tokens=True))
            right = scores[name].add(problem, text, decoded.stats)
            if on_answer is not None:
                on_answer(name, problem, right, decoded)
    return scores
