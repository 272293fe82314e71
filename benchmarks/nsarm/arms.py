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


@dataclass(frozen=True)
class Arm:
    """One run.

    Attributes:
        config: of the recipe.
        base: the arm that it goes on from; None: the shipped Infinity.
        entries: what is its own.
    """

    config: str
    base: str | None
    entries: tuple[str, ...] = ()


SEVEN = (
    "model.map.sizes=[1, 2, 3, 4, 6, 8, 12]",
    "model.map.widths=[32, 32, 48, 64, 96, 128, 160]",
    "model.map.layers=[1, 1, 1, 1, 2, 2, 2]",
    "model.map.heads=[4, 4, 4, 4, 4, 4, 4]",
)
ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "map": Arm("photographs128", None),
        "joint": Arm("photographs128_joint", "map"),
        "map_longer": Arm(
            "photographs128_joint",
            "map",
            ("method.stage=map", "method.map_weight=0", "train.best_by=held_out_residuals"),
        ),
        "map_seven": Arm("photographs128", None, SEVEN),
        "joint_seven": Arm("photographs128_joint", "map_seven"),
    }
)
"""``map_longer``: as many more steps of stage 1 as stage 2 has, what more training of M alone is worth. ``..._seven``: M replaces seven scales,
all but the last, where the config has five."""

USUAL = ("map", "joint", "map_longer")


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

    def large(self, number: int, overlap: int | None) -> Path:
        """The upscaled large picture of a photograph with an overlap of tiles, None: the usual one; for looking at."""
        return self.runs / f"seed{self.seed}" / f"large_{number}_overlap_{'usual' if overlap is None else overlap}.png"

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
    chosen = ARMS[arm]
    begins = f"model.base={EXAMPLES / 'infinity'}" if chosen.base is None else f"model.start={study.model(chosen.base)}"
    return [
        begins,
        f"companions.tokenizer={study.tokenizer}",
        f"data.path={study.staged / 'image_text' / 'coco_cc' / 'metadata.jsonl'}",
        f"train.seed={study.seed}",
        *chosen.entries,
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
        if run_to_end("nsarm", ARMS[arm].config, study.of(arm), own) is None:
            return False
    return True
