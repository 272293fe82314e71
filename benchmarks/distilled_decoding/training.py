"""From a teacher to its pairs, its student, and the control."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import DataError

from benchmarks.images.parts import Folders
from benchmarks.recipes import FINAL, run_to_end

from .setups import CONTROL, Setup

__all__ = ["Runs", "runs_of", "train"]


@dataclass(frozen=True)
class Runs:
    """Folders of what a seed has: pairs, and the runs of student and control."""

    pairs: Path
    student: Path
    control: Path

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Of student and control: the weights at the end of their training."""
        return {"student": self.student / FINAL, "control": self.control / FINAL}


def runs_of(setup: Setup, output: Path, seed: int) -> Runs:
    """Where the runs of a seed lie."""
    home = output / f"seed{seed}" / setup.name
    return Runs(home / "pairs", home / "student", home / "control")


def train(
    setup: Setup, folders: Folders, output: Path, seed: int, pairs: Sequence[str] = (), training: Sequence[str] = ()
) -> bool:
    """Make pairs and train both; what is done stays, what was stopped goes on.

    Student and control have the same pairs, network, start, steps and optimiser.

    Args:
        setup: the teacher.
        folders: where it is.
        output: folder of the runs.
        seed: of pairs and training.
        pairs: further entries of noise_code_pairs.
        training: further entries of distilled_decoding, of both.

    Returns:
        False if a signal stopped a run.

    Raises:
        DataError: there is no such teacher.
    """
    for name in (setup.name, setup.tokenizer):
        if not folders.model(name).is_dir():
            raise DataError(
                f"{str(folders.model(name))!r} is not there: run `python -m benchmarks.images train {setup.name} --seed "
                f"{folders.seed}` first, or give --base-seed"
            )
    runs, tokenizer = runs_of(setup, output, seed), f"tokenizer={folders.model(setup.tokenizer)}"
    teacher = folders.model(setup.name)
    made = run_to_end(
        "noise_code_pairs", setup.config, runs.pairs, [f"teacher={teacher}", tokenizer, f"method.seed={seed}", *pairs]
    )
    if made is None:
        return False
    common = [f"model.teacher={teacher}", tokenizer, f"data.path={runs.pairs}", f"train.seed={seed}", *training]
    for folder, own in ((runs.student, ()), (runs.control, CONTROL)):
        if run_to_end("distilled_decoding", setup.config, folder, [*common, *own]) is None:
            return False
    return True
