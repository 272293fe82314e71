"""What is trained, and where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ar_core.errors import DataError

from ..recipes import FINAL, run_to_end

__all__ = ["ARMS", "EXAMPLES", "USUAL", "Study", "entries", "train"]

EXAMPLES = Path(__file__).parents[2] / "packages" / "ar-vision" / "examples"
"""The shipped models."""

ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "map": ("photographs128", ()),
        "joint": ("photographs128_joint", ()),
        "map_longer": (
            "photographs128_joint",
            ("method.stage=map", "method.map_weight=0", "train.best_by=held_out_residuals"),
        ),
    }
)
"""Config and own entries of each arm. ``map_longer``: as many more steps of stage 1 as stage 2 has, what more training of M alone is worth."""

USUAL = ("map", "joint")


@dataclass(frozen=True)
class Study:
    """One seed.

    Attributes:
        runs: folder of all runs.
        staged: ``AR_DATA_DIR``.
        seed: of training, degradations and draws.
    """

    runs: Path
    staged: Path
    seed: int = 0

    def of(self, arm: str) -> Path:
        """Folder of an arm's run."""
        return self.runs / f"seed{self.seed}" / arm

    def model(self, arm: str) -> Path:
        """Checkpoint of an arm: that of the best evaluation where one was kept, else the last.

        Raises:
            DataError: it is not there.
        """
        best = self.of(arm) / "best"
        found = best if best.is_dir() else self.of(arm) / FINAL
        if not found.is_dir():
            raise DataError(
                f"{str(found)!r}, the arm {arm!r}, is not there: run `python -m benchmarks.nsarm train --seed {self.seed}` first"
            )
        return found

    def large(self, overlap: int | None) -> Path:
        """The upscaled large picture with an overlap of tiles, None: the usual one; for looking at."""
        return self.runs / f"seed{self.seed}" / f"large_overlap_{'usual' if overlap is None else overlap}.png"

    @property
    def tokenizer(self) -> Path:
        """The shipped tokenizer."""
        return EXAMPLES / "bsq_tokenizer"

    @property
    def kodak(self) -> Path:
        """The photographs that are measured."""
        return self.staged / "images" / "kodak256"


def entries(study: Study, arm: str) -> list[str]:
    """Entries of the config of an arm: where it begins, and what is its own.

    Raises:
        DataError: there is no such arm, or the one it goes on from is not there.
    """
    if arm not in ARMS:
        raise DataError(f"there is no arm {arm!r}: give some of {', '.join(ARMS)}")
    begins = f"model.base={EXAMPLES / 'infinity'}" if arm == "map" else f"model.start={study.model('map')}"
    return [
        begins,
        f"companions.tokenizer={study.tokenizer}",
        f"data.path={study.staged / 'image_text' / 'coco_cc' / 'metadata.jsonl'}",
        f"train.seed={study.seed}",
        *ARMS[arm][1],
    ]


def train(study: Study, arms: Sequence[str], overrides: Sequence[str] = ()) -> bool:
    """Bring arms to their end, one behind the other; what is done stays, what was stopped goes on.

    Args:
        study: with which seed.
        arms: which.
        overrides: further ``key=value`` entries, of all of them.

    Returns:
        False if a signal stopped a run.
    """
    for arm in arms:
        own = [*entries(study, arm), *overrides]
        if run_to_end("nsarm", ARMS[arm][0], study.of(arm), own) is None:
            return False
    return True
