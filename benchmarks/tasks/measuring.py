"""Accuracy, tokens per forward and wall clock of one seed over block size, threshold and commit."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ar_core.decoding import Decoded
from ar_core.environment import environment
from ar_core.hf import HFBackbone, load_causal_lm
from dlm_text.efficient_dlm.checkpoint import Conversion
from dlm_text.tasks import Problem, held_out
from dlm_text.tasks.evaluate import Arm, Score, arm, evaluate
from dlm_text.tasks.tokenizer import encode_answer, encode_prompt
from rich.progress import Progress

from benchmarks.recipes import DEFAULT_METHOD

from .conversion import MaskedPositions, masked_in_training, weight_change
from .decoders import LENGTH, conversion_decoders, conversion_settings, is_hybrid
from .exactness import Exactness
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
    method: str = DEFAULT_METHOD,
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
        method: decoder of the conversion. Blocks are laid out as in training, whatever the attention pattern was; one row
            more is decoded as the released code does. Hybrids are also decoded one token at a time and by self-speculation.
        variant: name of the conversion, where it is not the plain one.
        settings: of the method's decoder, for all its rows.
        problems: how many; 500 give a standard error of one point near 95 %.
        block_sizes: D of decoding; training used the config's.
        thresholds: acceptance thresholds.
        commits: ``separate`` or ``fused``; the latter where it is possible.

    Returns:
        JSON-able: environment, models, and one row per decoder with its settings, accuracy and cost; ``speed`` is
        tokens per second over those of the autoregressive base, from the same interleaved pass over the problems. Rows of a
        hybrid's two modes say how many of their outputs are ``equal`` to those they must be. Beside the rows ``settings``,
        which hold where a row has no others, ``weight_change`` by layer, and for methods that mask by position
        ``masked_decoding`` and ``masked_training``, shares by position of a block.
    """
    base, control = load_causal_lm(models.base), load_causal_lm(models.control)
    converted = load_causal_lm(models.converted)
    tokenizer = base.tokenizer
    assert tokenizer is not None
    own = conversion_settings(method, converted.model.config, converted.tokenizer, settings or {})
    rows: dict[str, dict[str, Any]] = {"AR base": {}, "AR control": {}}
    arms: dict[str, Arm] = {
        "AR base": arm(HFBackbone(base.model), tokenizer),
        "AR control": arm(HFBackbone(control.model), tokenizer),
    }
    parallel, size = HFBackbone(converted.model), own["diffusion_block_size"]
    decoders = conversion_decoders(method, own, block_sizes=block_sizes, thresholds=thresholds, commits=commits)
    chosen, warm_up = held_out("mixed", problems, HELD_OUT_SEED), held_out("mixed", 1, HELD_OUT_SEED + 1)
    answers = {
        tuple(encode_prompt(tokenizer, one.prompt)): len(encode_answer(tokenizer, one.answer))
        for one in (*warm_up, *chosen)
    }

    def lengths(prompt: Sequence[int]) -> int:
        return answers[tuple(prompt)]

    for name, changed in decoders.items():
        rows[name] = {"block_size" if key == "diffusion_block_size" else key: value for key, value in changed.items()}
        limit = lengths if changed.pop(LENGTH, None) else None
        arms[name] = arm(parallel, tokenizer, method, limit=limit, **{**own, **changed})
    exact = Exactness(parallel, tokenizer, mask_id=own["mask_id"]) if is_hybrid(own) else None
    # One problem more that is not counted: the first passes of a process are slow.
    evaluate(arms, warm_up, tokenizer)
    with Progress() as bar:
        solving = bar.add_task(f"seed {seed}", total=problems * len(arms))

        def note(name: str, problem: Problem, right: bool, decoded: Decoded) -> None:
            bar.advance(solving)
            if exact is not None:
                exact.add(name, problem, decoded)

        scores = evaluate(arms, chosen, tokenizer, on_answer=note)
    for name, equal in exact.rows().items() if exact is not None else ():
        rows[name] |= equal
    results = {
        "seed": seed,
        "method": method,
        "variant": variant,
        "trained_block_size": size,
        "parameters": sum(p.numel() for p in base.model.parameters()),
        "data": {"task": "mixed", "split": "held_out", "seed": HELD_OUT_SEED, "problems": problems},
        "batch": 1,
        "settings": own,
        "weight_change": [round(change, 5) for change in weight_change(base.model, converted.model)],
        "environment": environment("cpu"),
        "rows": [{"name": name, **rows[name], **scored(score, scores["AR base"])} for name, score in scores.items()],
    }
    if method == "efficient_dlm":
        conversion = Conversion.of_checkpoint(converted.model.config, models.converted)
        traced = arm(parallel, tokenizer, method, trace=True, **{**own, "threshold": 1.0})
        results["masked_training"] = _masked_training(conversion, [(len(one), n) for one, n in answers.items()])
        results["masked_decoding"] = _masked_decoding(
            traced, size, chosen[:TRACED], tokenizer, absolute=own["grid"] == "absolute"
        )
    return results


def _masked_training(conversion: Conversion, lengths: Sequence[tuple[int, int]]) -> list[float]:
    """Shares of the draws of training that hid each position of a block; lengths of prompts and answers."""
    whole = conversion.attention_pattern == "bidirectional"
    shares = masked_in_training(conversion.diffusion_block_size, conversion.half_life_ratio, lengths if whole else ())
    return [round(share, 4) for share in shares]


def _masked_decoding(
    traced: Arm, size: int, problems: Sequence[Problem], tokenizer: Any, *, absolute: bool
) -> list[float]:
    """Shares of the passes, one token each, that saw each position of a block masked."""
    counted = MaskedPositions(size)

    def count(name: str, problem: Problem, right: bool, decoded: Decoded) -> None:
        assert decoded.trace is not None
        counted.add(decoded.trace, begin=len(encode_prompt(tokenizer, problem.prompt)) if absolute else 0)

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
