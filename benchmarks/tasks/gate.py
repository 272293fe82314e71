"""Is a base of the tasks worth measuring? A weak one answers at random, and nothing can be read from what is made of it."""

import hashlib
import json
from pathlib import Path

from ar_core.errors import CheckpointError
from ar_core.hf import HFBackbone, load_causal_lm
from dlm_text.tasks import held_out
from dlm_text.tasks.evaluate import arm
from dlm_text.tasks.tokenizer import encode_prompt

__all__ = ["GATE_SEED", "LEAST_ACCURACY", "NOTE", "PROBLEMS", "require_good_base"]

GATE_SEED = 30_000
"""Seed of the held-out problems that decide; those of the measurements have another one."""
PROBLEMS = 200
BATCH = 50
LEAST_ACCURACY = 0.95
NOTE = "held_out_accuracy.json"
"""Where the accuracy is noted, beside the folder of the model."""


def require_good_base(base: Path, seed: int) -> float:
    """Let a base solve held-out problems, once for its weights.

    Args:
        base: folder of the trained model; the accuracy is noted beside it.
        seed: of the base, for the message.

    Returns:
        The share of problems that it solves.

    Raises:
        CheckpointError: it solves too few.
    """
    accuracy = _accuracy(base)
    if accuracy < LEAST_ACCURACY:
        raise CheckpointError(
            f"the task base of seed {seed} solves {100 * accuracy:.1f} % of {PROBLEMS} held-out problems and must solve at least "
            f"{100 * LEAST_ACCURACY:.0f} %, or what is made of it measures nothing: take another --seed, or move {str(base.parent)!r} "
            "away and train it longer with --base-steps"
        )
    return accuracy


def _accuracy(base: Path) -> float:
    note = base.parent / NOTE
    asked = {"weights": _digest(base), "task": "mixed", "seed": GATE_SEED, "problems": PROBLEMS}
    if note.is_file():
        noted = json.loads(note.read_text(encoding="utf-8"))
        if {**noted, "accuracy": None} == {**asked, "accuracy": None}:
            return float(noted["accuracy"])
    accuracy = _measured(base)
    note.write_text(json.dumps({**asked, "accuracy": accuracy}) + "\n", encoding="utf-8")
    return accuracy


def _measured(base: Path) -> float:
    print(f"{PROBLEMS} held-out problems: {base}", flush=True)
    loaded = load_causal_lm(base)
    tokenizer = loaded.tokenizer
    assert tokenizer is not None
    decode = arm(HFBackbone(loaded.model), tokenizer)
    problems = held_out("mixed", PROBLEMS, GATE_SEED)
    solved = 0
    for start in range(0, PROBLEMS, BATCH):
        batch = problems[start : start + BATCH]
        decoded = decode([encode_prompt(tokenizer, problem.prompt) for problem in batch])
        texts = (str(tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in decoded.tokens)
        solved += sum(problem.solved_by(text) for problem, text in zip(batch, texts, strict=True))
    return solved / PROBLEMS


def _digest(base: Path) -> str:
    """Of the weights, by which a note is known to be theirs."""
    found = hashlib.sha256()
    for file in sorted(base.glob("*.safetensors")):
        found.update(file.read_bytes())
    return found.hexdigest()
