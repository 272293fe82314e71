"""Training runs that benchmarks need: started by a command, continued where they stopped, skipped when done."""

from collections.abc import Sequence
from pathlib import Path

from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe

__all__ = ["FINAL", "run_to_end"]

FINAL = "final"
"""Folder inside a run's directory that holds the trained model."""


def run_to_end(name: str, config: str, folder: Path, overrides: Sequence[str]) -> Path | None:
    """Train one recipe in one folder.

    Args:
        name: recipe.
        config: a config that ships with it.
        folder: checkpoints and metrics.
        overrides: ``key=value`` entries of the config.

    Returns:
        The folder of the trained model, or ``None`` if a signal stopped the run.
    """
    print(f"{name} --config {config}: {folder}", flush=True)
    method = recipe(name)
    run = read_run_config(method, config, [f"train.checkpoint_dir={folder}", *overrides])
    return None if run_recipe(method, run).interrupted else folder / FINAL
