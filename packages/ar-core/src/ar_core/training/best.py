"""The model with the best evaluation of a run, beside the one it ends with."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError, ResumeError
from ..json_text import read_json
from .job import Job
from .outcome import replace_model

__all__ = ["Best"]

_RECORD = "best.json"


class Best:
    """Keeps ``directory/best``: the model whose evaluation was smallest so far, and ``best.json`` with step and evaluation.

    A resumed run goes on from what lies there; it meets the same evaluations again that were made behind its checkpoint,
    so it ends with the same model as one that was not interrupted.

    Args:
        job: whose models are kept.
        name: of the evaluation.
        directory: of the run.
        resumed: False for a fresh start, which removes what an abandoned run left.

    Raises:
        ResumeError: what lies there of a resumed run is damaged.
    """

    def __init__(self, job: Job, name: str, directory: Path, *, resumed: bool) -> None:
        self.job, self.name, self.folder = job, name, directory / "best"
        self.value = math.inf
        if not resumed:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif (self.folder / _RECORD).is_file():
            try:
                # Chosen by another evaluation before, it tells nothing of this one.
                self.value = float(read_json(self.folder / _RECORD)["evaluation"].get(name, math.inf))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise ResumeError(
                    f"{str(self.folder / _RECORD)!r} is no record of an evaluation ({error}): restore it, or remove the folder"
                ) from error

    def offer(self, step: int, evaluation: Mapping[str, float]) -> None:
        """Keep the models as they are, averaged and whole, if their evaluation is below all before it.

        Raises:
            ConfigError: the evaluation has no number of that name.
        """
        if self.name not in evaluation:
            raise ConfigError(
                f"best_by is {self.name!r} and the evaluation measures {', '.join(sorted(evaluation))}: name one of these"
            )
        if not evaluation[self.name] < self.value:
            return
        self.value = evaluation[self.name]

        def save(folder: Path) -> None:
            assert self.job.save is not None
            self.job.save(folder)
            record = {"step": step, "evaluation": dict(evaluation)}
            (folder / _RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")

        replace_model(self.folder, save)
