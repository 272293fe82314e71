"""The three models of one seed: the autoregressive base, its conversion, and the base trained on as a control."""

from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import CheckpointError
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe

__all__ = ["SeedModels", "train_seed", "trained_models"]

FINAL = "final"
"""Folder inside a run's directory that holds the trained model."""


@dataclass(frozen=True)
class SeedModels:
    """Folders of the trained models of one seed.

    Attributes:
        base: the autoregressive model.
        converted: the base, converted.
        control: the base, trained autoregressively for as many further steps on the same rows as the conversion saw.
    """

    base: Path
    converted: Path
    control: Path


def train_seed(
    seed: int, runs: Path, *, method: str = "fast_dllm_v2", overrides: tuple[str, ...] = ()
) -> SeedModels | None:
    """Train the models of one seed; continues what was interrupted and skips what is done.

    Args:
        seed: of weights, order, corruption and problems.
        runs: folder of all runs.
        method: recipe of the conversion; its config ``task`` is used.
        overrides: ``key=value`` for the conversion, for smaller budgets.

    Returns:
        The folders, or ``None`` if a signal stopped one of the runs.
    """
    home = runs / f"seed{seed}"
    common = [f"train.seed={seed}", f"data.task_seed={seed}"]
    base = _run("autoregressive", "task_base", home / "base", common)
    if base is None:
        return None
    # Other problems than those of the base, the same for conversion and control.
    further = [f"train.seed={seed}", f"data.task_seed={1000 + seed}", f"model.path={base}", *overrides]
    converted = _run(method, "task", home / method, further)
    if converted is None:
        return None
    control = _run("autoregressive", "task_control", home / "control", further)
    return SeedModels(base, converted, control) if control is not None else None


def trained_models(seed: int, runs: Path, *, method: str = "fast_dllm_v2") -> SeedModels:
    """The folders of a seed that has been trained.

    Raises:
        CheckpointError: one of them is not there.
    """
    home = runs / f"seed{seed}"
    models = SeedModels(*(home / name / FINAL for name in ("base", method, "control")))
    for folder in (models.base, models.converted, models.control):
        if not folder.is_dir():
            raise CheckpointError(f"{str(folder)!r} is not there: train seed {seed} first")
    return models


def _run(name: str, config: str, folder: Path, overrides: list[str]) -> Path | None:
    method = recipe(name)
    print(f"{name} --config {config}: {folder}", flush=True)
    run = read_run_config(method, config, [f"train.checkpoint_dir={folder}", *overrides])
    result = run_recipe(method, run)
    return None if result.interrupted else folder / FINAL
