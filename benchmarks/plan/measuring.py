"""The same steps, planned and run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ar_core.planning import plan_run, step_samples
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_core.training.ema import Ema
from ar_core.training.job import Job
from ar_core.training.objective import Settling
from ar_core.training.optimizers import build_turns
from ar_core.training.ranks import Ranks
from ar_core.training.step import OptimizerStep, TrainStep
from torch import nn

from ..resumable import Row
from ..timing import peak_bytes

__all__ = ["ALLOWED", "CASES", "DRY", "Case", "markdown_table", "measured", "measured_peak"]

ALLOWED = 0.15
"""Largest difference of planned and measured peak, as a share of the measured one."""


@dataclass(frozen=True)
class Case:
    """A config of a recipe.

    Attributes:
        name: of the row.
        recipe: what runs.
        overrides: of its config ``tiny``.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...] = ()


CASES = (
    Case("text: Fast-dLLM v2", "fast_dllm_v2"),
    Case(
        "text: Fast-dLLM v2, checkpointing, bf16, average, two micro-batches",
        "fast_dllm_v2",
        (
            "model.gradient_checkpointing=true",
            "train.precision=bf16",
            "train.ema=0.99",
            "train.micro_batch_size=4",
        ),
    ),
    Case("images: a tokenizer, both players", "image_tokenizer", ("train.batch_size=4",)),
    Case("vision-language: DiffusionVL", "diffusionvl"),
)
DRY = (
    Case("text", "fast_dllm_v2", ("train.batch_size=2",)),
    Case("images", "image_tokenizer", ("train.batch_size=2",)),
    Case("vision-language", "diffusionvl", ("train.batch_size=2",)),
)


def measured(case: Case, *, repeats: int, device: str, ceiling: Mapping[str, float] | None) -> Row:
    """Plan a case, run it, compare the peaks."""
    del repeats, ceiling
    found = recipe(case.recipe)
    config = read_run_config(found, "tiny", case.overrides)
    plan = plan_run(found, config)
    peak = measured_peak(found, config, device)
    off = plan.peak_bytes / peak - 1
    return {
        "name": case.name,
        "recipe": case.recipe,
        "config": "tiny",
        "overrides": list(case.overrides),
        "planned_bytes": plan.peak_bytes,
        "planned_by_kind": dict(plan.memory),
        "measured_bytes": peak,
        "off": round(off, 4),
        "error": f"the plan is off by {off:.1%}, allowed {ALLOWED:.0%}" if abs(off) > ALLOWED else "",
    }


def measured_peak(found: Any, config: Any, device: str) -> int:
    """Most bytes that the allocator has given out during two optimiser steps on the micro-batches that the plan looked at.

    The profiler's memory events are counted from an idle process with the models built; weights, buffers and batch, which are
    there by then, are added.
    """
    train = dataclasses.replace(config.train, eval_every=None, best_by=None, device=device)
    job = build_job(found, dataclasses.replace(config, train=train))
    module = TrainStep(job.objective, job.models, train.precision).to(device)
    batch = [one.to(torch.device(device)) for one in step_samples(job, train, Ranks()).chosen]
    there = [*module.parameters(), *module.buffers(), *(tensor for one in batch for tensor in one.tensors.values())]
    storages = {storage.data_ptr(): storage.nbytes() for storage in (tensor.untyped_storage() for tensor in there)}
    return sum(storages.values()) + peak_bytes(lambda: _steps(job, module, train, batch), device)


def _steps(job: Job, module: nn.Module, train: Any, batch: list[Any]) -> None:
    turns = build_turns(job.objective, job.models, train)
    ema = Ema(turns, train.ema) if train.ema is not None else None
    step = OptimizerStep(module, job.objective, turns, train, Ranks())
    # The first makes the optimiser's state, which the second finds.
    for _ in range(2):
        step(batch, train.steps - 1)
        if isinstance(job.objective, Settling):
            job.objective.after_step(job.models, train.steps - 1, Ranks())
        if ema is not None:
            ema.update()


def markdown_table(results: Mapping[str, Any]) -> str:
    """One line a case."""
    lines = ["| config `tiny` of | planned, MB | measured, MB | off |", "|---|---|---|---|"]
    for row in results["rows"]:
        planned, taken = (f"{row[key] / 1e6:.2f}" for key in ("planned_bytes", "measured_bytes"))
        lines.append(f"| {row['name']} | {planned} | {taken} | {row['off']:+.1%} |")
    return "\n".join(lines) + "\n"
