"""Tokens per forward, wall clock and the text itself, of a converted language model beside its base and its control."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.decoding import Backbone, uncached_pass
from ar_core.environment import environment
from ar_core.hf import HFBackbone
from ar_decode.bench import Arm
from ar_decode.methods import Generation, build_method
from ar_decode.prompts import Prompt, first_that_fit, read_jsonl
from ar_decode.session import Session, load_session
from rich.progress import Progress

from benchmarks.data import text_folder
from benchmarks.recipes import DEFAULT_METHOD
from benchmarks.tasks.conversion import weight_change
from benchmarks.tasks.decoders import AS_TRAINED

from .setups import SETUPS, Models

__all__ = ["chosen_prompts", "decode_in_turn", "evaluations", "mean_nll", "measure", "text_rows"]

THRESHOLDS = (0.9, 0.7, 0.5)
STORIES = 32
STORY_TOKENS = 17
PER_CATEGORY = 1


def measure(
    name: str, models: Models, *, rounds: int, method: str = DEFAULT_METHOD, variant: str = ""
) -> dict[str, Any]:
    """Decode real prompts greedily with every decoder in turn.

    Args:
        name: of a setup.
        models: the trained folders.
        rounds: timed runs of each decoder, interleaved; minima are compared.
        method: decoder of the conversion.
        variant: name of the conversion, where it is not the plain one.

    Returns:
        JSON-able: environment, held-out losses over the course of training, change of the weights by layer, and one row per decoder: tokens per
        forward (prefill and commits counted), wall clock against the base's AR, mean negative log-likelihood of the
        outputs under the base, and the collapse columns. A row is ``collapsed`` if its distinct-3 is below 0.9 times
        that of the base's AR outputs.
    """
    setup = SETUPS[name]
    base = load_session(setup.model, dtype=setup.dtype)
    control = load_session(str(models.control), dtype=setup.dtype)
    converted = load_session(str(models.converted), dtype=setup.dtype)
    prompts = chosen_prompts(setup.prompts, base, max_new_tokens=setup.max_new_tokens)
    arms = {
        "AR base": Arm(base, build_method("ar", base, {}, {})),
        "AR control": Arm(control, build_method("ar", control, {}, {})),
        "AR converted": Arm(converted, build_method("ar", converted, {}, {})),
    }
    for threshold in THRESHOLDS:
        decoder = build_method(method, converted, {**AS_TRAINED.get(method, {}), "threshold": threshold}, {})
        arms[f"D={decoder.pass_tokens} threshold {threshold:g}"] = Arm(converted, decoder)
    decode_in_turn(arms, prompts, Generation(setup.max_new_tokens), rounds=rounds, name=name)
    return {
        "model": name,
        "method": method,
        "variant": variant,
        "data": {
            "prompts": [prompt.id for prompt, _ in prompts],
            "max_new_tokens": setup.max_new_tokens,
            "training_overrides": list(setup.overrides),
        },
        "batch": 1,
        "environment": environment("cpu"),
        "weight_change": [round(change, 5) for change in weight_change(_model(base), _model(converted))],
        "evaluations": {
            "converted": evaluations(models.converted.parent),
            "control": evaluations(models.control.parent),
        },
        "rows": text_rows(arms, prompts, reference="AR base"),
        "samples": [
            {"prompt": prompt.id, **{label: arm.session.text(arm.outputs[row]) for label, arm in arms.items()}}
            for row, (prompt, _) in enumerate(prompts[:3])
        ],
    }


def decode_in_turn(
    arms: Mapping[str, Arm],
    prompts: Sequence[tuple[Prompt, list[int]]],
    generation: Generation,
    *,
    rounds: int,
    name: str,
) -> None:
    """Let every decoder decode all prompts, one at a time, ``rounds`` times.

    Args:
        arms: decoders by name; they keep outputs and times.
        prompts: with their ids.
        generation: length and sampling of all.
        rounds: the order of the arms alternates, so that a drifting machine favours none.
        name: what the progress bar says.
    """
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


def text_rows(
    arms: Mapping[str, Arm], prompts: Sequence[tuple[Prompt, list[int]]], *, reference: str
) -> list[dict[str, Any]]:
    """One row per decoder, JSON-able: its counters, and its text beside that of the reference.

    Args:
        arms: decoders by name, which have run.
        prompts: what they continued.
        reference: name of the base's AR, which ``speed`` and ``collapsed`` are held against and whose model judges the outputs.
    """
    base = arms[reference]
    asked = [ids for _, ids in prompts]
    return [
        {
            "name": label,
            **arm.to_dict(),
            "speed": arm.tokens_per_second / base.tokens_per_second,
            "base_nll": mean_nll(base.session.backbone, zip(asked, arm.outputs, strict=True)),
            "collapsed": arm.collapse.collapsed(base.collapse),
        }
        for label, arm in arms.items()
    ]


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


def _model(session: Session) -> Any:
    assert isinstance(session.backbone, HFBackbone)
    return session.backbone.model


def chosen_prompts(
    kind: str, session: Session, *, max_new_tokens: int, per_category: int = PER_CATEGORY
) -> list[tuple[Prompt, list[int]]]:
    """Prompts with their ids, the first that there are; nothing is chosen.

    Args:
        kind: ``stories`` (openings of TinyStories) or ``spec_bench``.
        session: whose ids, and in whose context they fit.
        max_new_tokens: room behind a prompt.
        per_category: prompts of each category of Spec-Bench.

    Raises:
        DataError: ``AR_DATA_DIR`` is not set, or holds no such file.
    """
    text = text_folder()
    if kind == "stories":
        with gzip.open(text / "tinystories_valid.txt.gz", "rt", encoding="utf-8") as file:
            stories = [part for part in file.read().split("\n\n") if part.startswith("Once upon a time")][:STORIES]
        prompts = [Prompt(str(number), story) for number, story in enumerate(stories)]
        return [(prompt, session.encode(prompt)[:STORY_TOKENS]) for prompt in prompts]
    questions = read_jsonl(text / "spec_bench.jsonl")
    ids = [session.encode(question) for question in questions]
    room = session.backbone.context_length - max_new_tokens
    return first_that_fit(questions, ids, per_category=per_category, room=room)


def evaluations(run: Path) -> list[dict[str, float]]:
    """Held-out losses that the run noted, by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"step": line["step"], **line["evaluation"]} for line in lines if "evaluation" in line]
