"""Tokens per forward, wall clock and the text itself, of a converted language model beside its base and its control."""

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.decoding import Backbone, uncached_pass
from ar_decode.bench import Arm
from ar_decode.environment import environment
from ar_decode.methods import Generation, build_method
from ar_decode.prompts import Prompt, first_that_fit, read_jsonl
from ar_decode.session import Session, load_session
from rich.progress import Progress

from benchmarks.data import text_folder

from .setups import SETUPS, Models, Setup

__all__ = ["mean_nll", "measure"]

THRESHOLDS = (0.9, 0.7, 0.5)
STORIES = 32
STORY_TOKENS = 17
PER_CATEGORY = 1


def measure(name: str, models: Models, *, rounds: int) -> dict[str, Any]:
    """Decode real prompts greedily with every decoder in turn.

    Args:
        name: of a setup.
        models: the trained folders.
        rounds: timed runs of each decoder, interleaved; minima are compared.

    Returns:
        JSON-able: environment, held-out losses over the course of training, and one row per decoder: tokens per
        forward (prefill and commits counted), wall clock against the base's AR, mean negative log-likelihood of the
        outputs under the base, and the collapse columns. A row is ``collapsed`` if its distinct-3 is below 0.9 times
        that of the base's AR outputs.
    """
    setup = SETUPS[name]
    base = load_session(setup.model, dtype=setup.dtype)
    control = load_session(str(models.control), dtype=setup.dtype)
    converted = load_session(str(models.converted), dtype=setup.dtype)
    prompts = _prompts(setup, base)
    arms = {
        "AR base": Arm(base, build_method("ar", base, {}, {})),
        "AR control": Arm(control, build_method("ar", control, {}, {})),
        "AR converted": Arm(converted, build_method("ar", converted, {}, {})),
    }
    for threshold in THRESHOLDS:
        method = build_method("fast_dllm_v2", converted, {"threshold": threshold}, {})
        arms[f"D={method.pass_tokens} threshold {threshold:g}"] = Arm(converted, method)
    generation = Generation(setup.max_new_tokens)
    with Progress() as bar:
        task = bar.add_task(name, total=(rounds + 1) * len(arms))
        for arm in arms.values():
            # The first passes of a process are slow.
            arm.method.decode(arm.session, [prompts[0][1]], Generation(8))
            bar.advance(task)
        for number in range(rounds):
            for arm in list(arms.values())[:: 1 if number % 2 == 0 else -1]:
                arm.run(prompts, generation, batch_size=1)
                bar.advance(task)
    reference = arms["AR base"]
    return {
        "model": name,
        "method": "fast_dllm_v2",
        "data": {
            "prompts": [prompt.id for prompt, _ in prompts],
            "max_new_tokens": setup.max_new_tokens,
            "training_overrides": list(setup.overrides),
        },
        "batch": 1,
        "environment": environment("cpu"),
        "evaluations": {
            "converted": _evaluations(models.converted.parent),
            "control": _evaluations(models.control.parent),
        },
        "rows": [
            {
                "name": label,
                **arm.to_dict(),
                "speed": arm.tokens_per_second / reference.tokens_per_second,
                "base_nll": mean_nll(base.backbone, zip([ids for _, ids in prompts], arm.outputs, strict=True)),
                "collapsed": arm.collapse.collapsed(reference.collapse),
            }
            for label, arm in arms.items()
        ],
        "samples": [
            {"prompt": prompt.id, **{label: arm.session.text(arm.outputs[row]) for label, arm in arms.items()}}
            for row, (prompt, _) in enumerate(prompts[:3])
        ],
    }


@torch.no_grad()
def mean_nll(backbone: Backbone, pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> float:
    """Mean negative log-likelihood of outputs in nats per token, each after its prompt; the sum is over all tokens.

    Args:
        backbone: the model that judges.
        pairs: prompt and output ids; outputs may be empty, but not all of them.
    """
    total, count = 0.0, 0
    for prompt, output in pairs:
        hidden = uncached_pass(backbone, [*prompt, *output])[len(prompt) - 1 : -1]
        chosen = torch.tensor(list(output), device=hidden.device)
        total -= float(backbone.head(hidden).double().log_softmax(-1).gather(1, chosen[:, None]).sum())
        count += len(output)
    return total / count


def _prompts(setup: Setup, session: Session) -> list[tuple[Prompt, list[int]]]:
    """The first that there are; nothing is chosen."""
    text = text_folder()
    if setup.prompts == "stories":
        with gzip.open(text / "tinystories_valid.txt.gz", "rt", encoding="utf-8") as file:
            stories = [part for part in file.read().split("\n\n") if part.startswith("Once upon a time")][:STORIES]
        prompts = [Prompt(str(number), story) for number, story in enumerate(stories)]
        return [(prompt, session.encode(prompt)[:STORY_TOKENS]) for prompt in prompts]
    questions = read_jsonl(text / "spec_bench.jsonl")
    ids = [session.encode(question) for question in questions]
    room = session.backbone.context_length - setup.max_new_tokens
    return first_that_fit(questions, ids, per_category=PER_CATEGORY, room=room)


def _evaluations(run: Path) -> list[dict[str, float]]:
    """Held-out losses that the run noted, by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"step": line["step"], **line["evaluation"]} for line in lines if "evaluation" in line]
