"""The one training loop."""

from typing import Literal

from .batches import StepDataset, step_loader
from .config import TrainConfig
from .device import choose_device
from .job import Job, TrainResult
from .optimizers import build_turns
from .ranks import process_group
from .step import OptimizerStep, TrainStep

__all__ = ["train"]


def train(job: Job, config: TrainConfig, *, resume: Literal["auto", "never", "must"] = "auto") -> TrainResult:
    """Train ``job`` for ``config.steps`` optimiser steps."""
    with process_group() as ranks:
        device = choose_device(config.device)
        module = TrainStep(job.objective, job.models, config.precision).to(device)
        turns = build_turns(job.objective, job.models, config)
        run_step = OptimizerStep(module, job.objective, turns, config, ranks)
        losses = []
        for step, micro_batches in enumerate(step_loader(StepDataset(job, config, ranks))):
            losses.append(run_step([prepared.to(device) for prepared in micro_batches], step).loss)
        module.eval()
    return TrainResult(losses, config.steps)
