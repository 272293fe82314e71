"""Evaluations during a run, and the model it leaves."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import ConfigError
from ..io import atomic_file, sync, sync_tree
from ..io.atomic import TEMPORARY
from .ema import Ema
from .job import Job
from .metrics import FILE
from .step import TrainStep

if TYPE_CHECKING:
    from .shards import Shards

__all__ = ["leave_final_model", "replace_model", "require_own", "shown"]


@contextmanager
def shown(module: TrainStep, ema: Ema | None, shards: "Shards | None") -> Iterator[bool]:
    """Models as they are evaluated and saved: in eval mode, averaged where there is an average, whole where they are sharded.

    Yields:
        Whether they can run in this process: in the first one alone where they are sharded, and all must come here.
    """
    module.eval()
    try:
        averaged = ema.applied() if ema is not None else nullcontext()
        whole = shards.whole() if shards is not None else nullcontext(True)
        with averaged, whole as here, torch.no_grad():
            yield here
    finally:
        module.train()


def leave_final_model(
    job: Job,
    module: TrainStep,
    ema: Ema | None,
    directory: Path | None,
    *,
    step: int,
    trained: bool,
    shards: "Shards | None" = None,
) -> None:
    """Leave averaged weights in the models, and the model in ``directory/final``; ``final.json`` says of which step it is.

    Args:
        job: Whose model it is.
        module: Its models.
        ema: The average, if the run keeps one.
        directory: The run's directory; None writes nothing.
        step: The run's last.
        trained: False if the run was over before it was started: a model of its last step that is there then stays.
        shards: What is trained, if it is sharded; all processes must come here.
    """
    module.eval()
    if ema is not None:
        ema.keep()
    if job.save is None or directory is None:
        return
    final, record = directory / "final", directory / "final.json"
    # A run that was made longer may have died before it replaced the model of its former end, or before it noted that it had.
    needed = trained or not final.exists() or _step(record) != step
    if shards is not None:
        needed = shards.ranks.any(needed and shards.ranks.rank == 0)
    if not needed:
        return
    whole = shards.whole() if shards is not None else nullcontext(True)
    with whole as here:
        if not here:
            return
        replace_model(final, job.save)
        with atomic_file(record) as temporary:
            temporary.write_text(json.dumps({"step": step}) + "\n", encoding="utf-8")


def _step(record: Path) -> int | None:
    """The step a final model is of; None where it was not noted down."""
    try:
        out: int | None = json.loads(record.read_text(encoding="utf-8"))["step"]
        return out
    except (OSError, ValueError, KeyError, TypeError):
        return None


def require_own(directory: Path, names: Iterable[str]) -> None:
    """Refuse to begin a run where its models would take the place of what no run has left.

    Args:
        directory: Of the run; one that holds metrics, or is not there, may hold anything.
        names: Of the folders that the run replaces.

    Raises:
        ConfigError: One of them holds something.
    """
    if (directory / FILE).exists():
        return
    for folder in (directory / name for name in names):
        if folder.is_symlink() or (any(folder.iterdir()) if folder.is_dir() else folder.exists()):
            raise ConfigError(
                f"{str(folder)!r} was left by no run (there is no {FILE} beside it), and a model would take its place: choose another "
                "checkpoint_dir, or move it away"
            )


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
