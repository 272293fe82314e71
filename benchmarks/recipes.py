"""Training runs and data stages that benchmarks need: started by a command, continued where they stopped, skipped when done."""

from collections.abc import Sequence
from pathlib import Path

from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe

__all__ = ["DEFAULT_METHOD", "FINAL", "conversion_name", "run_to_end", "without_method"]

FINAL = "final"
"""Folder inside a run's directory that holds the trained model."""


DEFAULT_METHOD = "fast_dllm_v2"


def conversion_name(method: str, variant: str = "") -> str:
    """What the folder and the results of a conversion are called."""
    return f"{method}-{variant}" if variant else method


def without_method(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides of a conversion that hold for its control too."""
    return tuple(entry for entry in overrides if not entry.startswith("method."))


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
