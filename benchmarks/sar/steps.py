"""Time and memory of an optimiser step of every arm beside one of plain FlexVAR training."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_core.training.optimizers import build_turns
from ar_core.training.ranks import Ranks
from ar_core.training.step import OptimizerStep, TrainStep
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.flexvar.objective import FlexVarObjective
from ar_vision.sar.objective import SarObjective

from ..images.study import Study
from ..timing import interleaved, peak_bytes
from .arms import entries

__all__ = ["PLAIN", "WAYS", "measure_steps"]

PLAIN = "plain FlexVAR"

WAYS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "sigma = 0": {"sigma": 0.0},
        "full": {},
        "full, argmax without guidance": {"rollout_sampling": "argmax", "rollout_guidance": 1.0},
        "released": {"rollout": "released"},
        "full, soft targets": {"target": "soft"},
    }
)
"""Settings of the method."""

UNMOVED = 1e-300
"""Learning rate, 0 in the arithmetic of the weights: the work is the same, and the weights stay what they are."""


def measure_steps(study: Study, *, repeats: int, device: str, batch: int | None = None) -> dict[str, Any]:
    """Take steps of all ways in turn on one batch, on the model that arms start from and the schedule of evaluation.

    Args:
        study: whose model and data.
        repeats: rounds that count.
        device: where.
        batch: samples of the step; None: the config's.

    Returns:
        ``seconds`` of each round and ``peak_bytes`` beyond what lies there between steps, by way; ``batch`` and ``tokens``.
    """
    own = [*entries(study, "control"), "train.eval_every=null", f"train.lr={UNMOVED}", "method.schedules.fixed=true"]
    if batch is not None:
        own.append(f"train.batch_size={batch}")
    run = read_run_config(recipe("sar"), "cifar10", own)
    job = build_job(recipe("sar"), run)
    model, where = job.models["model"], torch.device(device)
    assert isinstance(model, FlexVar)
    plain = job.objective
    assert isinstance(plain, SarObjective)
    sides, size = plain.stored, run.train.batch_size
    samples = list(islice(job.source.open(0), size))
    objectives: dict[str, FlexVarObjective] = {PLAIN: FlexVarObjective(run.method, model, sides, size)}
    method = replace(run.method, sigma=0.01)
    objectives |= {name: SarObjective(replace(method, **way), model, sides, size) for name, way in WAYS.items()}
    for one in job.models.values():
        one.to(where)
    turns = build_turns(plain, job.models, run.train)
    runs = {}
    for name, objective in objectives.items():
        prepared = objective.prepare(samples, SampleRng(study.seed)).to(where)
        module = TrainStep(objective, job.models, run.train.precision)
        step = OptimizerStep(module, objective, turns, run.train, Ranks())
        runs[name] = partial(_one, step, prepared, model)
    for step_once in runs.values():
        step_once()
    peaks = {name: peak_bytes(step_once, device) for name, step_once in runs.items()}
    seconds = interleaved(runs, repeats, device, launches=True)
    return {
        "batch": size,
        "tokens": plain.schedule(samples, SampleRng(0)).total,
        "seconds": seconds,
        "peak_bytes": peaks,
    }


def _one(step: OptimizerStep, prepared: Any, model: FlexVar) -> None:
    """Take a step and free its gradients, so that each begins with the same memory."""
    step([prepared], 0)
    model.zero_grad()
