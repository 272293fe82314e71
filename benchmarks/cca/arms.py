"""What is trained from a base model, and for how long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config

from ..images.parts import Folders, Part, part

__all__ = ["BASES", "SHARE", "WEIGHTS", "Arm", "base", "log_probs_folder", "most_steps", "overrides"]

BASES = ("var", "llamagen")
WEIGHTS = (1.0, 10.0, 100.0, 1000.0)
"""Weights lambda of mismatched pairs."""
SHARE = 0.05
"""Most steps, as a share of the base model's."""


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

    def folder(self, folders: Folders, name: str) -> Path:
        """Where it is trained from the base of that name."""
        return folders.of(f"{name}_{self.name}")


def base(name: str) -> Part:
    """The part that a base model is.

    Raises:
        DataError: there is none of that name.
    """
    if name not in BASES:
        raise DataError(f"there is no base {name!r}: give one of {', '.join(BASES)}")
    return part(name)


def log_probs_folder(folders: Folders, name: str) -> Path:
    """Where the log-probabilities are that all arms of a base share."""
    return folders.of(f"{name}_cca_log_probs")


def most_steps(name: str) -> int:
    """5 % of the steps of a base's recipe."""
    chosen = base(name)
    return int(SHARE * read_run_config(recipe(chosen.recipe), chosen.config).train.steps)


def overrides(folders: Folders, name: str) -> list[str]:
    """What both recipes are told about a base: its folders."""
    chosen = base(name)
    (codes,) = chosen.needs
    assert chosen.tokenizer is not None
    return [
        f"model={folders.model(name)}",
        f"tokenizer={folders.model(chosen.tokenizer)}",
        f"data.path={folders.of(codes)}",
        f"train.seed={folders.seed}",
    ]
