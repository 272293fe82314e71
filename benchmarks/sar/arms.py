"""What is trained from the same FlexVAR, and where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ar_core.errors import DataError

from ..images.parts import Folders
from ..recipes import run_to_end

__all__ = ["ARMS", "BASE", "USUAL", "Study", "train"]

BASE = "base"
"""The FlexVAR that all arms start from."""

ARMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "control": ("method.sigma=0",),
        "full": (),
        "full_sigma_0.5": ("method.sigma=0.5",),
        "released": ("method.rollout=released", "method.share_label_dropout=false"),
        "gt": ("method.target=gt", "method.sigma=0.5"),
        "soft": ("method.target=soft", "method.sigma=0.5"),
    }
)
"""Entries of the config `sar/cifar10` by arm: data, order, optimiser and number of steps are the same in all."""

USUAL = ("control", "full", "full_sigma_0.5")
"""Arms that are trained unless others are asked for: with the published weight the second loss is a hundredth of the first."""


@dataclass(frozen=True)
class Study:
    """One seed of the study.

    Attributes:
        folders: of `benchmarks.images`, with the seed of the models that are started from.
        seed: of the arms' training and of all samples, those of the base too.
    """

    folders: Folders
    seed: int

    @property
    def tokenizer(self) -> Path:
        """Checkpoint of the tokenizer."""
        return self.folders.model("vq_tokenizer")

    def of(self, arm: str) -> Path:
        """Folder of an arm's run; of the base, where its samples are kept."""
        return self.folders.runs / "sar" / f"base{self.folders.seed}_seed{self.seed}" / arm

    def model(self, arm: str) -> Path:
        """Checkpoint of an arm, after its last step: with a control nothing is chosen by an evaluation.

        Raises:
            DataError: it is not there.
        """
        found = self.folders.model("flexvar") if arm == BASE else self.of(arm) / "final"
        if not found.is_dir():
            part = "benchmarks.images train flexvar" if arm == BASE else f"benchmarks.sar train --seed {self.seed}"
            raise DataError(f"the model of the arm {arm!r} is not there: run `python -m {part}` first")
        return found

    def entries(self, arm: str) -> list[str]:
        """Entries of the config of an arm: where it starts from, and what is its own."""
        if arm not in ARMS:
            raise DataError(f"there is no arm {arm!r}: give some of {', '.join(ARMS)}")
        return [
            f"tokenizer={self.tokenizer}",
            f"model.path={self.model(BASE)}",
            f"data.path={self.folders.of('side_codes')}",
            f"train.seed={self.seed}",
            *ARMS[arm],
        ]


def train(study: Study, arms: Sequence[str], overrides: Sequence[str] = ()) -> bool:
    """Bring arms to their end; what is done stays, what was stopped goes on.

    Args:
        study: from which model, with which seed.
        arms: which.
        overrides: further ``key=value`` entries, of all of them.

    Returns:
        False if a signal stopped a run.
    """
    runs = [(arm, study.entries(arm)) for arm in arms]
    return all(run_to_end("sar", "cifar10", study.of(arm), [*entries, *overrides]) is not None for arm, entries in runs)
