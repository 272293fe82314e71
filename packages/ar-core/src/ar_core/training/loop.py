"""The one training loop."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .config import TrainConfig
from .device import choose_device
from .job import Job, TrainResult
from .optimizers import build_turns
from .ranks import Ranks, process_group
from .resume import Resume
from .run import Run
from .step import TrainStep

if TYPE_CHECKING:
    from .shards import Shards

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
        The losses and how the run ended; the models of the job hold the trained weights (with ``ema`` and if the run
        is over: the average).

    Raises:
        ConfigError: Settings and job do not fit together.
        ResumeError: The checkpoints cannot be continued.
        NumericsError: A loss or gradient is not finite; the last checkpoint stays.
        CheckpointError: A checkpoint cannot be written; the previous one stays.
    """
    with process_group() as ranks:
        device = choose_device(config.device)
        module = TrainStep(job.objective, job.models, config.precision).to(device)
        shards = _sharded(module, config, ranks)
        turns = build_turns(job.objective, job.models, config, shards.local if shards is not None else None)
        with Run(
            job, config, module=module, turns=turns, ranks=ranks, resume=resume, report=report, shards=shards
        ) as run:
            for micro_batches in run.batches():
                run.advance([prepared.to(device) for prepared in micro_batches])
                if run.stopping:
                    break
            return run.finish()


def _sharded(module: TrainStep, config: TrainConfig, ranks: Ranks) -> "Shards | None":
    """Share what is trained among the ranks, if the run is to; all of them must hold the same before."""
    if config.sharding == "none":
        return None
    # FSDP2 takes seconds to import.
    from .shards import Shards

    ranks.require_equal([(name, one) for name, one in module.models.named_parameters() if one.requires_grad])
    return Shards(module, ranks, layers=config.sharding_unit == "layer")
