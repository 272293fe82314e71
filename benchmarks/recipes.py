"""Training runs and data stages that benchmarks need: started by a command, continued where they stopped, skipped when done."""

from collections.abc import Sequence
from pathlib import Path

from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe

__all__ = ["FINAL", "run_to_end"]

FINAL = "final"
"""Folder inside a run's directory that holds the trained model."""


def run_to_end(name: str, config: str, folder: Path, overrides: Sequence[str]) -> Path | None:
    """Run one recipe in one folder.

    Args:
        name: recipe.
        config: a config that ships with it.
        folder: checkpoints and metrics; of a recipe that makes data, the data.
        overrides: ``key=value`` entries of the config.

    Returns:
        The folder of the trained model or of the data, or ``None`` if a signal stopped the run.
    """
    print(f"{name} --config {config}: {folder}", flush=True)
    method = recipe(name)
    trains = method.makes == "model"
    where = "train.checkpoint_dir" if trains else "stage.directory"
    run = read_run_config(method, config, [f"{where}={folder}", *overrides])
    if run_recipe(method, run).interrupted:
        return None
    return folder / FINAL if trains else folder
