"""From a teacher to its pairs, its student, and the control."""

from collections.abc import Sequence

from benchmarks.images.parts import Folders
from benchmarks.images.study import BASE, Study
from benchmarks.recipes import run_to_end

from .setups import CONTROL, Setup

__all__ = ["PAIRS", "STUDENTS", "study_of", "train"]

PAIRS = "pairs"
STUDENTS = ("student", "control")
"""What is trained on the pairs."""


def study_of(setup: Setup, folders: Folders, seed: int) -> Study:
    """A seed of a teacher's distillation."""
    return Study("distilled_decoding", setup.part or setup.name, folders, seed)


def train(setup: Setup, study: Study, pairs: Sequence[str] = (), training: Sequence[str] = ()) -> bool:
    """Make pairs and train both; what is done stays, what was stopped goes on.

    Student and control have the same pairs, network, start, steps and optimiser.

    Args:
        setup: the teacher, and the config of both recipes.
        study: where things lie, and the seed.
        pairs: further entries of noise_code_pairs.
        training: further entries of distilled_decoding, of both.

    Returns:
        False if a signal stopped a run.

    Raises:
        DataError: there is no such teacher.
    """
    teacher, tokenizer, folder = study.model(BASE), f"tokenizer={study.tokenizer}", study.of(PAIRS)
    own = [f"teacher={teacher}", tokenizer, f"method.seed={study.seed}"]
    if setup.texts:
        own.append(f"texts.captions.path={study.codes}")
    made = run_to_end("noise_code_pairs", setup.config, folder, [*own, *pairs])
    if made is None:
        return False
    common = [f"model.teacher={teacher}", tokenizer, f"data.path={folder}", f"train.seed={study.seed}", *training]
    for name, different in zip(STUDENTS, ((), CONTROL), strict=True):
        if run_to_end("distilled_decoding", setup.config, study.of(name), [*common, *different]) is None:
            return False
    return True
