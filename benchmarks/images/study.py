"""A method that goes on from a small model of CIFAR-10, with one seed: where its runs and samples lie, and what says so on a command line."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ar_core.errors import DataError

from ..data import staged_folder
from ..recipes import run_to_end
from .parts import Folders, Part, part

if TYPE_CHECKING:
    from ar_vision.evaluation.generation import ImageGenerator

__all__ = ["BASE", "Study", "add_options", "folders_of", "train_arms"]

BASE = "base"
"""What the model that all arms start from is called."""


@dataclass(frozen=True)
class Study:
    """One seed of a method on one base.

    Attributes:
        method: its folder of runs.
        base: part of `benchmarks.images` that the method starts from, a generator.
        folders: of `benchmarks.images`; their seed is that of the base.
        seed: of all training and samples of the method, samples of the base too.
    """

    method: str
    base: str
    folders: Folders
    seed: int = 0

    @property
    def part(self) -> Part:
        """What the base is.

        Raises:
            DataError: it is no generator.
        """
        chosen = part(self.base)
        if chosen.tokenizer is None:
            raise DataError(f"{self.base!r} is no generator: give one that is")
        return chosen

    @property
    def tokenizer(self) -> Path:
        """Checkpoint of the base's tokenizer."""
        assert self.part.tokenizer is not None
        return self.folders.model(self.part.tokenizer)

    @property
    def codes(self) -> Path:
        """The encoded images that the base was trained on."""
        (codes,) = self.part.needs
        return self.folders.of(codes)

    @property
    def home(self) -> Path:
        """Folder of all runs of the study."""
        return self.folders.runs / self.method / f"{self.base}{self.folders.seed}_seed{self.seed}"

    def of(self, arm: str) -> Path:
        """Folder of an arm's run; of the base, where its samples are kept."""
        if arm == BASE and self.seed == 0:
            # The samples of `benchmarks.images` are those of seed 0: they need not be drawn again.
            return self.folders.of(self.base)
        return self.home / arm

    def model(self, arm: str) -> Path:
        """Checkpoint of an arm, after its last step: with a control nothing is chosen by an evaluation.

        Raises:
            DataError: it is not there.
        """
        if arm == BASE:
            found = self.folders.model(self.base)
            command = f"images train {self.base} --seed {self.folders.seed}"
        else:
            found, command = self.of(arm) / "final", f"{self.method} train --seed {self.seed}"
        if not found.is_dir():
            raise DataError(
                f"{str(found)!r}, the arm {arm!r}, is not there: run `python -m benchmarks.{command}` first"
            )
        return found

    def samples(self, arm: str, count: int, guidance: float) -> Path:
        """Where samples are kept, so that whoever measures them again need not draw them again."""
        return self.of(arm) / "samples" / f"{count}_guidance_{guidance:g}"

    def generator(self, arm: str, guidance: float) -> "ImageGenerator":
        """An arm, ready to draw on a CPU; guidance 1 is the pass without the null half."""
        from ar_vision.evaluation.generation import open_generator

        return open_generator(str(self.model(arm)), str(self.tokenizer), {"guidance": guidance}, device="cpu")


def train_arms(study: Study, recipe: str, config: str, runs: Mapping[str, Sequence[str]]) -> bool:
    """Bring arms to their end, one after the other; what is done stays, what was stopped goes on.

    Args:
        study: where they lie.
        recipe: of all of them.
        config: one that ships with it.
        runs: ``key=value`` entries by arm.

    Returns:
        False if a signal stopped a run.
    """
    return all(run_to_end(recipe, config, study.of(arm), own) is not None for arm, own in runs.items())


def add_options(command: argparse.ArgumentParser) -> None:
    """The options that say where models and data are, and which seeds."""
    command.add_argument(
        "--cifar10", type=Path, default=Path("CIFAR10"), help="folder of train.parquet and test.parquet"
    )
    command.add_argument("--runs", type=Path, default=Path("runs/images"), help="of benchmarks.images; runs go beside")
    command.add_argument("--base-seed", type=int, default=0, help="of the models of benchmarks.images")
    command.add_argument("--seed", type=int, default=0, help="of what is trained from them, and of all samples")


def folders_of(arguments: argparse.Namespace) -> Folders:
    """What `add_options` was given.

    Raises:
        DataError: ``AR_DATA_DIR`` is not set.
    """
    staged = staged_folder("images/ and models/")
    return Folders(arguments.runs, arguments.cifar10, staged, arguments.base_seed)
