"""What a run will take: one of its optimiser steps, run without values."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)

from ..errors import ConfigError, PlanError
from ..registry import Recipe
from ..shapes_only import shapes_only
from ..training.config import TrainConfig
from ..training.ema import Ema
from ..training.job import Job
from ..training.objective import Settling
from ..training.optimizers import Turn, build_turns
from ..training.ranks import Ranks
from ..training.recipe import build_job
from ..training.state import RunState
from ..training.step import OptimizerStep, TrainStep
from .live_bytes import LiveBytes
from .samples import StepSamples, step_samples
from .traced import ReadOnHost, Traced, without_values

__all__ = ["RunPlan", "plan_job", "plan_run"]


@dataclass(frozen=True)
class RunPlan:
    """What a run takes on each of its devices."""

    trained: int
    """Parameters that optimisers move."""
    frozen: int
    """All other parameters."""
    memory: Mapping[str, int]
    """Bytes alive at the moment when most are, by what they are for."""
    peak_bytes: int
    """Their sum."""
    processes: int
    """Devices, each with all weights."""
    samples_per_step: int
    """Of all devices."""
    tokens_per_step: int
    """Of all devices, as the throughput meter counts them; 0 where samples have none."""
    micro_batches: int
    """Forward passes of a device and step."""
    flops_per_step: int
    """Of a device; a multiplication and an addition are two. Matrix products, attention and convolutions, with what is recomputed."""
    dtype: str
    """In which most of them are done."""
    update_bytes: int
    """What the optimiser reads and writes in a step."""
    gradient_bytes: int
    """What devices add up in a step."""
    checkpoint_bytes: int
    """One checkpoint: trained weights, moments, average."""
    kept_checkpoints: int
    """As many lie on the disk."""
    steps: int
    """Optimiser steps of the run."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What the numbers leave out."""


def plan_run(recipe: Recipe, config: Any, *, processes: int = 1) -> RunPlan:
    """Build the job of a run, its language models without weights, and plan it.

    Args:
        recipe: what runs.
        config: of :func:`ar_core.training.read_run_config`.
        processes: devices that share a step.

    Raises:
        ConfigError: the recipe makes data, or the batch cannot be shared.
        PlanError: shapes depend on what models compute.
        ArError: as building the job does.
    """
    if recipe.makes != "model":
        raise ConfigError(
            f"the recipe {recipe.name!r} makes data and has no optimiser step to plan: time its first chunks with `ar-train run`"
        )
    train = dataclasses.replace(config.train, device="cpu", eval_every=None, best_by=None)
    with shapes_only():
        job = build_job(recipe, dataclasses.replace(config, train=train))
    return plan_job(job, train, processes=processes)


def plan_job(job: Job, config: TrainConfig, *, processes: int = 1) -> RunPlan:
    """Plan a job. Its models lose their values: it cannot be trained afterwards.

    The step is the last of the run, when every term of the loss plays, on the first samples of the data.

    Args:
        job: what is trained.
        config: the run.
        processes: devices that share a step.

    Raises:
        ConfigError: the batch cannot be shared.
        PlanError: shapes depend on what models compute.
    """
    if processes < 1:
        raise ConfigError(f"the number of processes is {processes}, but a run has at least 1")
    if config.sharding != "none":
        raise ConfigError(
            f"sharding is {config.sharding!r}, and plans are of devices that each hold all weights: plan with train.sharding=none, of "
            "whose weights, gradients, optimiser state and average each of the devices then holds its share between passes"
        )
    ranks = _Apart(0, processes)
    samples = step_samples(job, config, ranks)
    chosen = samples.chosen
    module = TrainStep(job.objective, job.models, config.precision)
    total = sum(parameter.numel() for parameter in module.parameters())
    fake, live = FakeTensorMode(allow_non_fake_inputs=True), LiveBytes()
    without_values(module, fake)
    traced = Traced(fake, live, _head_widths(job.models.values()))
    try:
        with ReadOnHost(), traced:
            turns, ema = _prepared_to_step(job, config, module, live)
            live.note((tensor for one in chosen for tensor in one.tensors.values()), "batch")
            live.begin()
            OptimizerStep(module, job.objective, turns, config, ranks)(chosen, config.steps - 1)
            if isinstance(job.objective, Settling):
                job.objective.after_step(job.models, config.steps - 1, ranks)
            if ema is not None:
                ema.update()
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException) as error:
        raise PlanError(
            f"the step cannot be planned, since a shape in it depends on what the models compute ({error}): run a few steps and "
            "read peak_memory in metrics.jsonl"
        ) from error
    groups = RunState(job.models, turns, ema).tensors()
    parameters = [parameter for turn in turns for parameter in turn.parameters]
    moments = [x for turn in turns for held in turn.optimizer.state.values() for x in held.values()]
    averages = ema.average.values() if ema is not None else ()
    return RunPlan(
        trained=sum(parameter.numel() for parameter in parameters),
        frozen=total - sum(parameter.numel() for parameter in parameters),
        memory={kind: size for kind, size in live.at_peak.most_common() if size},
        peak_bytes=live.peak,
        processes=processes,
        samples_per_step=config.batch_size,
        tokens_per_step=samples.tokens * processes,
        micro_batches=samples.count,
        flops_per_step=samples.of_a_step(sum(traced.flops.values())),
        dtype=str(traced.flops.most_common(1)[0][0]).removeprefix("torch.") if traced.flops else "float32",
        update_bytes=3 * _bytes(parameters) + 2 * _bytes(moments) + 3 * _bytes(averages),
        gradient_bytes=_bytes(parameters) if processes > 1 else 0,
        checkpoint_bytes=sum(_bytes(group.values()) for group in groups.values()),
        kept_checkpoints=config.keep,
        steps=config.steps,
        notes=_notes(traced, samples),
    )


@dataclass(frozen=True)
class _Apart(Ranks):
    """One of several processes, without the others: what they would add is not there, the memory for it is."""

    def sum(self, values: Tensor) -> Tensor:
        return values


def _prepared_to_step(
    job: Job, config: TrainConfig, module: nn.Module, live: LiveBytes
) -> tuple[list[Turn], Ema | None]:
    """Optimisers with their state, and the average; as they are from the second step on."""
    live.note(module.parameters(), "weights")
    live.note(module.buffers(), "buffers")
    turns = build_turns(job.objective, job.models, config)
    ema = Ema(turns, config.ema) if config.ema is not None else None
    live.rename(ema.average.values() if ema is not None else (), "average")
    for turn in turns:
        for parameter in turn.parameters:
            parameter.grad = torch.zeros_like(parameter)
            live.rename([parameter.grad], "gradients")
            parameter.register_post_accumulate_grad_hook(lambda one: live.rename([one.grad], "gradients"))
        turn.optimizer.step()
        for held in turn.optimizer.state.values():
            live.rename(held.values(), "optimizer")
        if len(turns) == 1:
            turn.optimizer.zero_grad()
    return turns, ema


def _head_widths(models: Iterable[nn.Module]) -> set[int]:
    """Rows of output heads, which language models name and others call so."""
    named = (pair for model in models for pair in model.named_parameters(remove_duplicate=False))
    return {
        parameter.shape[0]
        for name, parameter in named
        if parameter.ndim == 2 and name.split(".")[-2:-1] in (["lm_head"], ["head"], ["output"])
    }


def _notes(traced: Traced, samples: StepSamples) -> tuple[str, ...]:
    notes = [
        "memory is that of tensors: what a kernel holds while it runs, the allocator's fragments, the device's context, data "
        "workers and evaluations are not in it",
        "attention and arithmetic are those of a CPU: kernels of a GPU may keep other activations",
    ]
    if samples.uneven:
        notes.append(
            f"micro-batches differ in size: memory is that of the largest of {len(samples.prepared)}, and a larger one takes more; "
            "operations are those of their mean"
        )
    return (*notes, *sorted(traced.guessed))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
