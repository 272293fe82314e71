"""Training runs that benchmarks need: started by a command, continued where they stopped, skipped when done."""

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
