"""What is trained from a base model, and for how long."""

from dataclasses import dataclass
from typing import Literal

from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config

from ..images.parts import Folders, part
from ..images.study import BASE, Study

__all__ = ["BASES", "SHARE", "STORED", "WEIGHTS", "Arm", "most_steps", "overrides", "study_of"]

BASES = ("var", "llamagen")
WEIGHTS = (3.0, 10.0, 30.0)
"""Weights lambda of mismatched pairs: about the number of classes, which bounds what an image can say of its class."""
SHARE = 0.05
"""Most steps, as a share of the base model's."""
STORED = "log_probs"
"""Where the log-probabilities are that all arms of a study share."""


@dataclass(frozen=True)
class Arm:
    """One fine-tuning.

    Attributes:
        loss: as the method calls it.
        beta: scale of log-ratios.
        weight: lambda.
    """

    loss: Literal["cca", "dpo", "unlearning"]
    beta: float
    weight: float

    @property
    def name(self) -> str:
        """Of rows and folders."""
        return f"{self.loss}_beta{self.beta:g}_lambda{self.weight:g}"


def study_of(name: str, folders: Folders, seed: int) -> Study:
    """A seed of CCA on the base of that name.

    Raises:
        DataError: there is none.
    """
    if name not in BASES:
        raise DataError(f"there is no base {name!r}: give one of {', '.join(BASES)}")
    return Study("cca", name, folders, seed)


def most_steps(name: str) -> int:
    """5 % of the steps of a base's recipe."""
    chosen = part(name)
    return int(SHARE * read_run_config(recipe(chosen.recipe), chosen.config).train.steps)


def overrides(study: Study) -> list[str]:
    """What both recipes are told about a study: its folders and its seed."""
    return [
        f"model={study.model(BASE)}",
        f"tokenizer={study.tokenizer}",
        f"data.path={study.codes}",
        f"train.seed={study.seed}",
    ]
