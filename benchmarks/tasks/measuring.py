"""Accuracy, tokens per forward and wall clock of one seed over block size, threshold and commit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ar_core.hf import HFBackbone, load_causal_lm
from ar_decode.environment import environment
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint
from dlm_text.tasks import held_out
from dlm_text.tasks.evaluate import Arm, Score, arm, evaluate
from rich.progress import Progress

from .training import SeedModels

__all__ = ["BLOCK_SIZES", "COMMITS", "THRESHOLDS", "measure_seed"]

BLOCK_SIZES = (4, 8, 16)
THRESHOLDS = (1.0, 0.99, 0.95, 0.9, 0.7, 0.5)
COMMITS = ("separate", "fused")
HELD_OUT_SEED = 20_000
"""Seed of the held-out problems, the same for all seeds of training; no setting was chosen on them."""


def measure_seed(
    seed: int,
    models: SeedModels,
    *,
    problems: int,
    block_sizes: Sequence[int] = BLOCK_SIZES,
    thresholds: Sequence[float] = THRESHOLDS,
    commits: Sequence[str] = COMMITS,
) -> dict[str, Any]:
    """Decode held-out problems one at a time, every decoder in turn on each of them.

    Args:
        seed: of the models.
        models: the folders.
        problems: how many; 500 give a standard error of one point near 95 %.
        block_sizes: D of decoding; training used the config's.
        thresholds: acceptance thresholds.
        commits: ``separate`` or ``fused``.

    Returns:
        JSON-able: environment, models, and one row per decoder with its settings, accuracy and cost; ``speed`` is
        tokens per second over those of the autoregressive base, from the same interleaved pass over the problems.
    """
    base, control = load_causal_lm(models.base), load_causal_lm(models.control)
    converted = load_checkpoint(models.converted)
    tokenizer = base.tokenizer
    assert tokenizer is not None
    parallel = HFBackbone(converted.model)
    settings: dict[str, dict[str, Any]] = {"AR base": {}, "AR control": {}}
    arms: dict[str, Arm] = {
        "AR base": arm(HFBackbone(base.model), tokenizer),
        "AR control": arm(HFBackbone(control.model), tokenizer),
    }
    for size in block_sizes:
        for commit in commits:
            for threshold in thresholds:
                name = f"D={size} {commit} threshold {threshold:g}"
                settings[name] = {"block_size": size, "commit": commit, "threshold": threshold}
                arms[name] = arm(
                    parallel,
                    tokenizer,
                    "fast_dllm_v2",
                    mask_id=converted.mask_id,
                    diffusion_block_size=size,
                    sub_block_size=size,
                    threshold=threshold,
                    commit=commit,
                )
    # One problem more that is not counted: the first passes of a process are slow.
    evaluate(arms, held_out("mixed", 1, HELD_OUT_SEED + 1), tokenizer)
    with Progress() as bar:
        solving = bar.add_task(f"seed {seed}", total=problems * len(arms))
        chosen = held_out("mixed", problems, HELD_OUT_SEED)
        scores = evaluate(arms, chosen, tokenizer, on_answer=lambda *_: bar.advance(solving))
    return {
        "seed": seed,
        "method": "fast_dllm_v2",
        "trained_block_size": converted.diffusion_block_size,
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "data": {"task": "mixed", "split": "held_out", "seed": HELD_OUT_SEED, "problems": problems},
        "batch": 1,
        "environment": environment("cpu"),
        "rows": [{"name": name, **settings[name], **_row(score, scores["AR base"])} for name, score in scores.items()],
    }


def _row(score: Score, base: Score) -> dict[str, Any]:
    return {**score.to_dict(), "speed": round(score.stats.tokens_per_second / base.stats.tokens_per_second, 3)}


def write(results: dict[str, Any], path: Path) -> None:
    """Write results as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
