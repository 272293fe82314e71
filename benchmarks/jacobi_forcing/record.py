"""What the rounds were trained on and with, as their folders tell it: for the results."""

import json
from pathlib import Path
from typing import Any

from ar_core.training.checkpoint import latest

from benchmarks.language.measuring import evaluations

from .training import Round, Trained

__all__ = ["described"]


def described(trained: Trained) -> dict[str, Any]:
    """Per round: settings of its trajectories, of the method and of training, and what was measured on the way."""
    return {name: _round(one) for name, one in trained.rounds.items()}


def _round(one: Round) -> dict[str, Any]:
    stage = _read(one.trajectories / "stage.json")["identity"]
    checkpoint = latest(one.training)
    assert checkpoint is not None, "a run that left a model has a checkpoint"
    run = _read(checkpoint / "run.json")["run"]
    return {
        "trajectories": {**stage["data"], **stage["method"], "trained_on": run["data"]["rows"]},
        "dtype": run["job"]["model"]["dtype"],
        "method": run["job"]["method"],
        "train": run["train"],
        "evaluations": evaluations(one.training),
    }


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
