"""Time and memory of an optimiser step of every arm, over its own law of scales and over all scales."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_core.training.optimizers import build_turns
from ar_core.training.ranks import Ranks
from ar_core.training.step import OptimizerStep, TrainStep

from ..images.study import Study
from ..timing import interleaved, peak_bytes
from .arms import entries

__all__ = ["measure_steps"]

UNMOVED = 1e-300
"""Learning rate, 0 in the arithmetic of the weights: the work is the same, and the weights stay what they are."""
_WHOLE = "method.prefixes={law: full}"


def measure_steps(
    study: Study, arms: Sequence[str], *, repeats: int, batch: int = 64, device: str = "cpu"
) -> dict[str, Any]:
    """Take steps of all arms in turn on one batch over all scales, where arms are alike; what their laws leave out is in ``tokens``.

    Args:
        study: whose base and data.
        arms: which.
        repeats: rounds that count.
        batch: samples of the step.
        device: where.

    Returns:
        ``seconds`` of each round and ``peak_bytes`` beyond what lies there between steps, by arm, over all scales; ``batch``, and
        ``tokens``, the mean number of codes of an image in a step of each arm.
    """
    runs, tokens = {}, {}
    for arm in dict.fromkeys(arms):
        own = [*entries(study, arm), "train.eval_every=null", f"train.lr={UNMOVED}", f"train.batch_size={batch}"]
        law = read_run_config(recipe("ecm"), "cifar10", own).method.prefixes
        run = read_run_config(recipe("ecm"), "cifar10", [*own, _WHOLE])
        job = build_job(recipe("ecm"), run)
        base: Any = job.models["base"]
        schedule = base.schedule
        tokens[arm] = sum(seen * length for seen, length in zip(law.seen(schedule.count), schedule.lengths))
        samples = list(islice(job.source.open(0), batch))
        prepared = job.objective.prepare(samples, SampleRng(study.seed)).to(torch.device(device))
        module = TrainStep(job.objective, job.models, run.train.precision).to(device)
        step = OptimizerStep(
            module, job.objective, build_turns(job.objective, job.models, run.train), run.train, Ranks()
        )
        runs[arm] = partial(_one, step, prepared, job.models["model"])
    for step_once in runs.values():
        step_once()
    peaks = {name: peak_bytes(step_once, device) for name, step_once in runs.items()}
    seconds = interleaved(runs, repeats, device, launches=True)
    return {"batch": batch, "tokens": tokens, "seconds": seconds, "peak_bytes": peaks}


def _one(step: OptimizerStep, prepared: Any, model: Any) -> None:
    """Take a step and free its gradients, so that each begins with the same memory."""
    step([prepared], 0)
    model.zero_grad()
