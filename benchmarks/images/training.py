"""Training and encoding: each part behind those that it needs; or taking what the repository ships as trained."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ar_core.errors import DataError
from ar_core.io import atomic_directory

from ..recipes import run_to_end
from .exporting import SHIPPED
from .parts import Folders, part

__all__ = ["take", "train"]


def take(name: str, folders: Folders, shipped: Path = SHIPPED) -> None:
    """Put a shipped model, and the tokenizer that it goes with, where those lie that `train` trains.

    `train` leaves them as they are, so that what is built on them needs no pretraining.

    Args:
        name: of the part.
        folders: where.
        shipped: folder of the models.

    Raises:
        DataError: no such model is shipped, or there is a run of the part.
    """
    chosen = part(name)
    if not (shipped / name).is_dir():
        here = ", ".join(sorted(path.name for path in shipped.iterdir() if path.is_dir()))
        raise DataError(f"{name!r} is not shipped: give one of {here}, or train it")
    for one in (name, *([chosen.tokenizer] if chosen.tokenizer else [])):
        folder = folders.of(one)
        if _taken(one, folders):
            continue
        if folder.exists():
            raise DataError(f"{str(folder)!r} holds a run of {one!r} already: use that, or give other --runs")
        with atomic_directory(folder) as new:
            shutil.copytree(shipped / one, new / "final")


def train(name: str, folders: Folders, overrides: Sequence[str] = ()) -> bool:
    """Bring a part and all it needs to their end; what is done stays, what was stopped goes on.

    Args:
        name: of the part; one that was taken stays as it is.
        folders: where.
        overrides: ``key=value`` entries for this part alone.

    Returns:
        False if a signal stopped a run.
    """
    chosen = part(name)
    for needed in chosen.needs:
        if not train(needed, folders):
            return False
    if _taken(name, folders):
        return True
    seed = [] if chosen.recipe == "image_codes" else [f"train.seed={folders.seed}"]
    entries = [*seed, *chosen.overrides(folders), *overrides]
    return run_to_end(chosen.recipe, chosen.config, folders.of(name), entries) is not None


def _taken(name: str, folders: Folders) -> bool:
    folder = folders.of(name)
    return (folder / "final").is_dir() and not (folder / "metrics.jsonl").exists()
