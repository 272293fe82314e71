"""What is trained from the same FlexVAR, and where it lies."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ar_core.errors import DataError

from ..images.parts import Folders
from ..images.study import BASE, Study, train_arms

__all__ = ["ARMS", "USUAL", "entries", "study_of", "train"]

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


def study_of(folders: Folders, seed: int) -> Study:
    """A seed of SAR."""
    return Study("sar", "flexvar", folders, seed)


def entries(study: Study, arm: str) -> list[str]:
    """Entries of the config of an arm: where it starts from, and what is its own.

    Raises:
        DataError: there is no such arm.
    """
    if arm not in ARMS:
        raise DataError(f"there is no arm {arm!r}: give some of {', '.join(ARMS)}")
    return [
        f"tokenizer={study.tokenizer}",
        f"model.path={study.model(BASE)}",
        f"data.path={study.codes}",
        f"train.seed={study.seed}",
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
    return train_arms(study, "sar", "cifar10", {arm: [*entries(study, arm), *overrides] for arm in arms})
