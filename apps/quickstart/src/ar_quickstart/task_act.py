"""Act 1, what conversion does: a tiny model on problems with exact answers, before, after and during conversion."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.quiet import quieted
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config, train
from ar_decode.replay import Scene, replay_of
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint
from dlm_text.tasks import Problem, encode_prompt, held_out
from dlm_text.tasks.evaluate import Arm, Score, arm, evaluate

from .shipped import shipped_weights

__all__ = ["ARMS", "LIVE_THRESHOLD", "LivePoint", "TaskAct", "run_task_act"]

BASELINE = "AR"
THRESHOLDS = (0.95, 0.9, 0.7)
LIVE_THRESHOLD = 0.9
"""Confidence threshold of what is shown during conversion."""

ARMS = len(THRESHOLDS) + 2
"""Decoders in the table."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class LivePoint:
    """The model some steps into the live conversion.

    Attributes:
        step: optimiser steps so far; 0 is the AR model as it is.
        accuracy: share of the watched problems answered exactly, in [0, 1].
        tokens_per_forward: generated tokens per forward pass, prefill and commits included.
    """

    step: int
    accuracy: float
    tokens_per_forward: float


@dataclass(frozen=True)
class TaskAct:
    """What act 1 measured.

    Attributes:
        scores: by decoder; the autoregressive one first.
        scenes: one problem of each task, as both models solved it.
        live: the live conversion, from step 0 on.
        live_problems: how many problems stand behind each of its points.
        live_seconds: wall clock of the live conversion, evaluations included.
        parameters: of the model.
    """

    scores: Mapping[str, Score]
    scenes: tuple[Scene, ...]
    live: tuple[LivePoint, ...]
    live_problems: int
    live_seconds: float
    parameters: int


def run_task_act(
    *, problems: int, live_steps: int, live_problems: int, report: Report, tick: Callable[[], None]
) -> TaskAct:
    """Solve held-out problems with the shipped models, then convert the AR one again, live.

    Args:
        problems: held-out problems for the table.
        live_steps: optimiser steps of the live conversion.
        live_problems: held-out problems behind each of its points.
        report: told what goes on.
        tick: called after every answer of the table.
    """
    ar = load_causal_lm(shipped_weights("ar"), dtype=torch.float32)
    converted = load_checkpoint(shipped_weights("fast_dllm_v2"), dtype=torch.float32)
    tokenizer = ar.tokenizer
    assert tokenizer is not None
    settings: dict[str, Any] = {
        "mask_id": converted.mask_id,
        "diffusion_block_size": converted.diffusion_block_size,
        "sub_block_size": converted.sub_block_size,
        "commit": "fused",
    }
    base, parallel = HFBackbone(ar.model), HFBackbone(converted.model)
    arms: dict[str, Arm] = {BASELINE: arm(base, tokenizer)}
    for threshold in THRESHOLDS:
        arms[f"converted, threshold {threshold}"] = arm(
            parallel, tokenizer, "fast_dllm_v2", threshold=threshold, **settings
        )
    arms[f"not converted, threshold {LIVE_THRESHOLD}"] = arm(
        base, tokenizer, "fast_dllm_v2", threshold=LIVE_THRESHOLD, **settings
    )
    chosen = held_out("mixed", problems)
    scores = evaluate(arms, chosen, tokenizer, on_answer=lambda *_: tick())
    scenes = _scenes(
        chosen,
        tokenizer,
        {
            BASELINE: arm(base, tokenizer, trace=True),
            f"converted, threshold {LIVE_THRESHOLD}": arm(
                parallel, tokenizer, "fast_dllm_v2", trace=True, threshold=LIVE_THRESHOLD, **settings
            ),
        },
    )
    live, seconds = _convert_live(tokenizer, settings, live_steps, live_problems, report)
    parameters = sum(p.numel() for p in ar.model.parameters())
    return TaskAct(scores, scenes, tuple(live), live_problems, seconds, parameters)


def _convert_live(
    tokenizer: Any, settings: dict[str, Any], steps: int, problems: int, report: Report
) -> tuple[list[LivePoint], float]:
    method = recipe("fast_dllm_v2")
    run = read_run_config(
        method,
        "task",
        [
            f"model.path={shipped_weights('ar')}",
            f"train.steps={steps}",
            f"train.warmup_steps={max(1, steps // 20)}",
            f"train.eval_every={max(1, steps // 6)}",
            "train.checkpoint_dir=null",
            # Rows are made while training: a first run does not wait for 40,000 problems to be tokenised and stored.
            "data.streaming=true",
            "data.count=null",
        ],
    )
    job = build_job(method, run)
    watched = held_out("mixed", problems)
    decoder = arm(HFBackbone(job.models["model"]), tokenizer, "fast_dllm_v2", threshold=LIVE_THRESHOLD, **settings)
    points: list[LivePoint] = []

    def measure() -> dict[str, float]:
        score = evaluate({"live": decoder}, watched, tokenizer)["live"]
        return {"accuracy": score.accuracy, "tokens_per_forward": score.stats.tokens_per_forward}

    def record(values: Mapping[str, Any]) -> None:
        if "evaluation" in values:
            points.append(LivePoint(values["step"], **values["evaluation"]))
            report(f"  step {points[-1].step}: {_words(points[-1])}")

    started = time.perf_counter()
    job.models["model"].eval()
    points.append(LivePoint(0, **measure()))
    report(f"  step 0: {_words(points[0])}")
    job.models["model"].train()
    # Without a terminal the lines of a run would stand between ours, which say the same.
    with quieted(not sys.stderr.isatty()):
        train(replace(job, evaluate=measure), run.train, resume="never", report=record)
    return points, time.perf_counter() - started


def _words(point: LivePoint) -> str:
    return f"{100 * point.accuracy:.0f} % exact at {point.tokens_per_forward:.2f} tokens per forward"


def _scenes(problems: list[Problem], tokenizer: Any, arms: Mapping[str, Arm]) -> tuple[Scene, ...]:
    """The first problem of each task, replayed."""
    first = {problem.task: problem for problem in reversed(problems)}
    return tuple(
        Scene(
            task.replace("_", " "),
            problem.prompt,
            tuple(
                replay_of(name, decode([encode_prompt(tokenizer, problem.prompt)]), tokenizer.decode)
                for name, decode in arms.items()
            ),
        )
        for task, problem in sorted(first.items())
    )
