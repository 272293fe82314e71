"""A problem with exactly one right answer, and the hash that puts it in the training or the held-out half.

The split is a property of the prompt alone: no list of held-out problems has to be kept, and no seed, order or
amount of training can move a problem from one side to the other.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

__all__ = ["HELD_OUT_PERCENT", "Problem", "Split", "split_of"]

Split = Literal["train", "held_out"]
"""Which half a problem is in."""

HELD_OUT_PERCENT = 10
"""Share of all problems that is never trained on, in percent."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        task: name of the task it was drawn from.
        prompt: what is asked, one line that ends in a newline.
        answer: the only text that counts as right, without an end-of-sequence token.
    """

    task: str
    prompt: str
    answer: str

    @property
    def split(self) -> Split:
        """The half this problem belongs to."""
        return split_of(self.prompt)

    def solved_by(self, text: str) -> bool:
        """Whether a generated text is the answer, character for character."""
        return text == self.answer


def split_of(prompt: str) -> Split:
    """The half a prompt belongs to: ``HELD_OUT_PERCENT`` % of all prompts are held out.

    Args:
        prompt: the prompt of a problem, as it is given to the model.

    Returns:
        ``"held_out"`` or ``"train"``, from SHA-256 of the prompt and nothing else.
    """
    digest = hashlib.sha256(prompt.encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") % 100 < HELD_OUT_PERCENT else "train"
