"""Evaluations during a run, and the model it leaves."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from ..io import atomic_file, sync, sync_tree
from ..io.atomic import TEMPORARY
from .ema import Ema
from .job import Job
from .step import TrainStep

__all__ = ["evaluate", "leave_final_model", "replace_model"]


def evaluate(job: Job, module: TrainStep, ema: Ema | None) -> dict[str, float]:
    """Return the job's evaluation of the models in eval mode, with averaged weights where there are any."""
    assert job.evaluate is not None
    module.eval()
    try:
        with ema.applied() if ema is not None else nullcontext(), torch.no_grad():
            return dict(job.evaluate())
    finally:
        module.train()


def leave_final_model(
    job: Job, module: TrainStep, ema: Ema | None, directory: Path | None, *, step: int, trained: bool
) -> None:
    """Leave averaged weights in the models, and the model in ``directory/final``; ``final.json`` says of which step it is.

    Args:
        job: Whose model it is.
        module: Its models.
        ema: The average, if the run keeps one.
        directory: The run's directory; None writes nothing.
        step: The run's last.
        trained: False if the run was over before it was started: a model of its last step that is there then stays.
    """
    module.eval()
    if ema is not None:
        ema.keep()
    if job.save is None or directory is None:
        return
    final, record = directory / "final", directory / "final.json"
    # A run that was made longer may have died before it replaced the model of its former end, or before it noted that it had.
    if final.exists() and not trained and _step(record) == step:
        return
    replace_model(final, job.save)
    with atomic_file(record) as temporary:
        temporary.write_text(json.dumps({"step": step}) + "\n", encoding="utf-8")


def _step(record: Path) -> int | None:
    """The step a final model is of; None where it was not noted down."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def replace_model(folder: Path, save: Callable[[Path], None]) -> None:
    """Write a model into a folder that appears only when complete, in the place of one that is there."""
    staging = folder.parent / f"{TEMPORARY}{folder.name}"
    shutil.rmtree(staging, ignore_errors=True)
    save(staging)
    sync_tree(staging)
    # A process killed between these two is started again: the last checkpoint is complete, the model is written anew.
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    sync(folder.parent)
