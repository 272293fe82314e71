"""The one training loop."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from .allocator import keep_freed_memory
from .batches import StepDataset, step_loader
from .config import TrainConfig
from .device import choose_device
from .ema import Ema
from .identity import run_identity
from .interrupt import Interrupt
from .job import Job, TrainResult
from .lock import directory_lock
from .optimizers import build_turns
from .ranks import process_group
from .recorder import Recorder
from .resume import Resume, resume_run
from .state import RunState
from .step import OptimizerStep, TrainStep

__all__ = ["train"]


def train(
    job: Job,
    config: TrainConfig,
    *,
    resume: Resume = "auto",
    report: Callable[[Mapping[str, Any]], None] | None = None,
) -> TrainResult:
    """Train until ``config.steps`` optimiser steps are done, or a signal asks to stop.

    One process, or every process that ``torchrun`` started. A run that was killed at any moment and is started again
    with the same settings ends with the same losses, weights and optimiser state as one that was not, bit for bit.

    Args:
        job: What is trained.
        config: The run.
        resume: ``auto`` continues from the newest complete checkpoint if there is one, ``must`` demands one, ``never``
            demands a directory without one.
        report: Called on the first rank with every record that goes to ``metrics.jsonl``.

    Returns:
        The losses and how the run ended; the models of the job hold the trained weights (with ``ema`` and if the run is
        over: the average).

    Raises:
        ConfigError: Settings and job do not fit together.
        ResumeError: The checkpoints cannot be continued.
        NumericsError: A loss or gradient is not finite; the last checkpoint stays.
        CheckpointError: A checkpoint cannot be written; the previous one stays.
    """
    if config.eval_every is not None and job.evaluate is None:
        raise ConfigError(f"eval_every is {config.eval_every} and the job has nothing to evaluate: set it to null")
    keep_freed_memory()
    directory = Path(config.checkpoint_dir) if config.checkpoint_dir is not None else None
    with process_group() as ranks, Interrupt() as interrupt, ExitStack() as stack:
        if directory is not None and ranks.rank == 0:
            stack.enter_context(directory_lock(directory))
        device = choose_device(config.device)
        module = TrainStep(job.objective, job.models, config.precision).to(device)
        turns = build_turns(job.objective, job.models, config)
        ema = Ema(turns, config.ema) if config.ema is not None else None
        state = RunState(job.models, turns, ema)
        identity = run_identity(job, config)
        start = resume_run(state, identity, config.steps, directory, resume)
        ranks.require_equal(list(state.weights.items()))
        recorder = None
        if ranks.rank == 0:
            recorder = Recorder(job, config, module, state, identity, directory, report, start)
            stack.enter_context(closing(recorder))

        run_step = OptimizerStep(module, job.objective, turns, config, ranks)
        losses: list[float] = []
        step, stopping = start or 0, False
        for micro_batches in step_loader(StepDataset(job, config, ranks, step)):
            result = run_step([prepared.to(device) for prepared in micro_batches], step)
            step += 1
            losses.append(result.loss)
            if ema is not None:
                ema.update()
            asked = float(interrupt.requested)
            stopping = bool(ranks.sum(torch.tensor([asked])).item()) if ranks.size > 1 else bool(asked)
            if recorder is not None:
                tokens = sum(prepared.meta["tokens"] for prepared in micro_batches)
                recorder.after_step(step, result, tokens * ranks.size, stopping=stopping)
            if stopping:
                break
        module.eval()
        if recorder is not None:
            recorder.finish(step, trained=bool(losses))
    interrupted = stopping and step < config.steps
    return TrainResult(losses, step, start, interrupted, recorder.evaluation if recorder is not None else {})
