"""Accuracy, tokens per forward and wall clock of one seed over block size, threshold and commit."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ar_core.decoding import Decoded
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.registry import decoder, resolve
from ar_decode.environment import environment
from dlm_text.tasks import Problem, held_out
from dlm_text.tasks.evaluate import Arm, Score, arm, evaluate
from rich.progress import Progress

from .conversion import MaskedPositions, masked_in_training, weight_change
from .training import SeedModels

__all__ = ["BLOCK_SIZES", "COMMITS", "HELD_OUT_SEED", "THRESHOLDS", "measure_seed", "scored", "write"]

BLOCK_SIZES = (4, 8, 16)
THRESHOLDS = (1.0, 0.99, 0.95, 0.9, 0.7, 0.5)
COMMITS = ("separate", "fused")
TRACED = 100
"""Problems whose order of unmasking is recorded; one token a pass, apart from the timed rows."""
HELD_OUT_SEED = 20_000
"""Seed of the held-out problems, the same for all seeds of training; no setting was chosen on them."""


def measure_seed(
    seed: int,
    models: SeedModels,
    *,
    method: str = "fast_dllm_v2",
    variant: str = "",
    settings: Mapping[str, Any] | None = None,
    problems: int,
    block_sizes: Sequence[int] = BLOCK_SIZES,
    thresholds: Sequence[float] = THRESHOLDS,
    commits: Sequence[str] = COMMITS,
) -> dict[str, Any]:
    """Decode held-out problems one at a time, every decoder in turn on each of them.

    Args:
        seed: of the models.
        models: the folders.
        method: decoder of the conversion; hybrids are also decoded one token at a time and by self-speculation.
        variant: name of the conversion, where it is not the plain one.
        settings: of the method's decoder, for all its rows.
        problems: how many; 500 give a standard error of one point near 95 %.
        block_sizes: D of decoding; training used the config's.
        thresholds: acceptance thresholds.
        commits: ``separate`` or ``fused``; the latter is left out where finished tokens are causal.

    Returns:
        JSON-able: environment, models, and one row per decoder with its settings, accuracy and cost; ``speed`` is
        tokens per second over those of the autoregressive base, from the same interleaved pass over the problems. Beside them
        ``weight_change`` by layer and, for blocks that begin where the output does, ``masked_decoding`` and
        ``masked_training``, shares by position of a block.
    """
    base, control = load_causal_lm(models.base), load_causal_lm(models.control)
    converted = load_causal_lm(models.converted)
    tokenizer = base.tokenizer
    assert tokenizer is not None
    own = resolve(decoder(method).options).of_checkpoint(converted.model.config, converted.tokenizer) | dict(
        settings or {}
    )
    rows: dict[str, dict[str, Any]] = {"AR base": {}, "AR control": {}}
    arms: dict[str, Arm] = {
        "AR base": arm(HFBackbone(base.model), tokenizer),
        "AR control": arm(HFBackbone(control.model), tokenizer),
    }
    parallel, size = HFBackbone(converted.model), own["diffusion_block_size"]
    for name, chosen in _grid(own, block_sizes, thresholds, commits).items():
        rows[name] = {
            "block_size": chosen["diffusion_block_size"],
            **{key: chosen[key] for key in ("commit", "threshold")},
        }
        arms[name] = arm(parallel, tokenizer, method, **chosen)
    if own.get("context") == "causal":
        for mode in ("autoregressive", "self_speculation"):
            rows[f"hybrid, {mode}"] = {"mode": mode}
            arms[f"hybrid, {mode}"] = arm(parallel, tokenizer, method, **own, mode=mode)
    # One problem more that is not counted: the first passes of a process are slow.
    evaluate(arms, held_out("mixed", 1, HELD_OUT_SEED + 1), tokenizer)
    with Progress() as bar:
        solving = bar.add_task(f"seed {seed}", total=problems * len(arms))
        chosen = held_out("mixed", problems, HELD_OUT_SEED)
        scores = evaluate(arms, chosen, tokenizer, on_answer=lambda *_: bar.advance(solving))
    results = {
        "seed": seed,
        "method": method,
        "variant": variant,
        "trained_block_size": size,
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "data": {"task": "mixed", "split": "held_out", "seed": HELD_OUT_SEED, "problems": problems},
        "batch": 1,
        "weight_change": [round(change, 5) for change in weight_change(base.model, converted.model)],
        "environment": environment("cpu"),
        "rows": [{"name": name, **rows[name], **scored(score, scores["AR base"])} for name, score in scores.items()],
    }
    if method == "efficient_dlm" and own.get("grid", "prompt") == "prompt":
        traced = arm(parallel, tokenizer, method, trace=True, **{**own, "threshold": 1.0})
        half_life = getattr(converted.model.config, "tok_mask_half_life_ratio", None)
        results["masked_decoding"] = _masked_decoding(traced, size, chosen[:TRACED], tokenizer)
        results["masked_training"] = [round(share, 4) for share in masked_in_training(size, half_life)]
    return results


def _grid(
    own: dict[str, Any], block_sizes: Sequence[int], thresholds: Sequence[float], commits: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The settings of the method's decoders, by name."""
    found = {}
    for size in block_sizes:
        for commit in commits:
            if commit == "fused" and own.get("context") == "causal":
                continue
            for threshold in thresholds:
                changed = {"diffusion_block_size": size, "threshold": threshold, "commit": commit}
                if "sub_block_size" in own:
                    changed["sub_block_size"] = size
                found[f"D={size} {commit} threshold {threshold:g}"] = {**own, **changed}
    return found


def _masked_decoding(traced: Arm, size: int, problems: Sequence[Problem], tokenizer: Any) -> list[float]:
    """Shares of the passes, one token each, that saw each position of a block masked."""
    counted = MaskedPositions(size)

    def count(name: str, problem: Problem, right: bool, decoded: Decoded) -> None:
        assert decoded.trace is not None
        counted.add(decoded.trace)

    evaluate({"traced": traced}, problems, tokenizer, on_answer=count)
    return [round(share, 4) for share in counted.shares]


def scored(score: Score, base: Score) -> dict[str, Any]:
    """Figures of one decoder, with its ``speed``: tokens per second over the base's."""
    return {**score.to_dict(), "speed": round(score.stats.tokens_per_second / base.stats.tokens_per_second, 3)}


def write(results: dict[str, Any], path: Path) -> None:
    """Write results as indented JSON, lists of numbers on one line each."""
    # A raw line break never stands inside a string.
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", _one_line, json.dumps(results, indent=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"
