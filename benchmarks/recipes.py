"""Training runs and data stages that benchmarks need: started by a command, continued where they stopped, skipped when done."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe

__all__ = ["DEFAULT_METHOD", "FINAL", "conversion_name", "run_to_end", "training_record", "without_method"]

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


def training_record(folder: Path) -> dict[str, Any]:
    """What a run wrote down of itself.

    Returns:
        ``steps``; ``minutes`` of the steps alone, on the clock on the wall, so that what other work on the machine took away is in
        them; ``evaluations``, all of them, with their steps.
    """
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = [record for record in records if "steps_per_s" in record]
    steps = [0, *(record["step"] for record in logged)]
    seconds = sum((after - before) / record["steps_per_s"] for before, after, record in zip(steps, steps[1:], logged))
    return {
        "steps": max((record["step"] for record in records), default=0),
        "minutes": round(seconds / 60, 1),
        "evaluations": [record for record in records if "evaluation" in record],
    }
