"""What is compared: tokenizers that differ in the two losses alone, and where their runs lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import DataError

from ..images.parts import Folders

__all__ = ["ARMS", "CONFIG", "GlotokStudy", "require_arm"]

CONFIG = "cifar10"
"""Of all recipes."""

NO_HISTOGRAM = ("method.teacher=null", "method.histogram_weight=0")
NO_RESIDUAL = ("method.residual_weight=0", "model.settings.residual=null")
ARMS: Mapping[str, tuple[str, ...]] = {
    "none": (*NO_HISTOGRAM, *NO_RESIDUAL),
    "histogram": NO_RESIDUAL,
    "residual": NO_HISTOGRAM,
    "both": (),
}
"""Overrides of the recipe `glotok` by arm: without residual loss there are no residual modules either, as in the paper's table 5."""


def require_arm(name: str) -> None:
    """Refuse an arm that there is not.

    Raises:
        DataError: names those that there are.
    """
    if name not in ARMS:
        raise DataError(f"there is no arm {name!r}: give some of {', '.join(ARMS)}")


@dataclass(frozen=True)
class GlotokStudy:
    """One seed.

    Attributes:
        folders: where data and runs lie; their seed is that of everything but the teacher.
    """

    folders: Folders

    @property
    def teacher(self) -> Path:
        """Cluster centres that all arms and seeds share."""
        return self.folders.runs / "teacher"

    def of(self, arm: str, part: str) -> Path:
        """Folder of an arm's ``tokenizer``, ``codes`` or ``far``."""
        return self.folders.of(arm) / part

    def model(self, arm: str, part: str) -> Path:
        """Checkpoint of an arm's ``tokenizer`` or ``far`` after its last step: nothing is chosen by an evaluation.

        Raises:
            DataError: it is not there.
        """
        found = self.of(arm, part) / "final"
        if not found.is_dir():
            raise DataError(
                f"{str(found)!r}, the {part} of the arm {arm!r}, is not there: run `python -m benchmarks.glotok train --seed "
                f"{self.folders.seed} --arms {arm}` first"
            )
        return found
