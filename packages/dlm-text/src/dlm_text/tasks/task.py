"""The tasks as data sources of training runs (entry points of the group ``ar_core.tasks``)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .generate import stream
from .problem import Split
from .tokenizer import build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["ExactTask", "arithmetic", "extraction", "mixed", "word_problems"]


class ExactTask:
    """One task under the name that configs use; implements ``ar_core.data.Task``.

    Args:
        name: one of ``TASKS``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def problems(self, split: Split, seed: int) -> Iterator[tuple[str, str]]:
        """Yield (prompt, answer) without end."""
        for drawn in stream(self.name, split, seed):
            yield drawn.prompt, drawn.answer

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The character tokenizer all tasks share."""
        return build_tokenizer()


def arithmetic() -> ExactTask:
    """Chains of additions and subtractions."""
    return ExactTask("arithmetic")


def word_problems() -> ExactTask:
    """Templated word problems."""
    return ExactTask("word_problems")


def extraction() -> ExactTask:
    """Fields of a record as JSON."""
    return ExactTask("extraction")


def mixed() -> ExactTask:
    """All three, in equal parts."""
    return ExactTask("mixed")
