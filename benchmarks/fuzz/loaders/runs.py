"""What lies in the folder of a run: checkpoints and their markers, metrics, the record of the best model."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from ar_core.training import checkpoint
from ar_core.training.best import Best
from ar_core.training.metrics import MetricsFile
from ar_core.training.resume import resume_run
from ar_core.training.state import RunState

from ..loader import Loader

__all__ = ["LOADERS"]

IDENTITY: dict[str, Any] = {
    "train": {"lr": 0.1, "seed": 0},
    "data": {"path": "x"},
    "job": {"recipe": "r", "list": [{"a": 1}]},
}


def _live() -> Any:
    """A run of one model of two parameters, one step old."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    parameters = dict(model.named_parameters())
    player = SimpleNamespace(models=("model",))
    turn = SimpleNamespace(
        player=player,
        optimizer=optimizer,
        names=[f"model.{name}" for name in parameters],
        parameters=list(parameters.values()),
    )
    return RunState({"model": model}, [turn], None)  # type: ignore[list-item]


def _run() -> Iterator[Any]:
    def write(folder: Path) -> None:
        from ar_core.training.identity import with_defaults

        state = _live()
        identity = with_defaults(IDENTITY)
        for step in (1, 2):
            checkpoint.save(folder, checkpoint.Snapshot(step, state.tensors(), identity), keep=2)

    yield write


def _read_run(folder: Path) -> None:
    from ar_core.training.identity import with_defaults

    resume_run(_live(), with_defaults(IDENTITY), 10, folder, "auto")
    checkpoint.prune(folder, 1)


def _metrics() -> Iterator[Any]:
    def write(folder: Path) -> None:
        metrics = MetricsFile(folder, 0)
        for step in range(1, 5):
            metrics.write({"step": step, "loss": 1.0 / step, "evaluation": {"loss": None}})
        metrics.close()

    yield write


def _read_metrics(folder: Path) -> None:
    metrics = MetricsFile(folder, 3)
    metrics.write({"step": 4})
    metrics.close()


def _best() -> Iterator[Any]:
    def write(folder: Path) -> None:
        best = Best(_savable(), "loss", folder, resumed=False)
        best.offer(1, {"loss": 0.5, "accuracy": 0.25})

    yield write


def _savable() -> Any:
    return SimpleNamespace(save=lambda folder: folder.mkdir(parents=True, exist_ok=True))


def _read_best(folder: Path) -> None:
    best = Best(_savable(), "loss", folder, resumed=True)
    best.offer(2, {"loss": 0.25})


LOADERS = (
    Loader("ar_core/run_checkpoint", _run, _read_run),
    Loader("ar_core/metrics", _metrics, _read_metrics),
    Loader("ar_core/best", _best, _read_best),
)
