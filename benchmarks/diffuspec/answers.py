"""Training text of drafters: the verifier's own answers to prompts that are measured nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ar_core.data.records import FileRecords
from ar_decode.methods import Generation, build_method
from ar_decode.session import Session
from ar_decode.text import decode_file

from .trained import write_jsonl

__all__ = ["answered", "training_prompts", "training_record", "write_answers"]

LONGEST_PROMPT = 600
"""Characters: longer prompts would leave the rows of training little room for answers."""


def training_prompts(text: Path, count: int) -> list[str]:
    """Instructions and GSM8K training questions in turn, until the first kind is used up; none that Spec-Bench asks.

    Args:
        text: folder of the staged texts.
        count: how many.
    """
    asked = {turn.strip() for record in FileRecords(text / "spec_bench.jsonl") for turn in record.data["turns"]}
    found: dict[str, None] = {}
    kinds = [_instructions(text), (record.data["question"] for record in FileRecords(text / "gsm8k_train.jsonl.gz"))]
    while kinds and len(found) < count:
        for kind in tuple(kinds):
            prompt = next(kind, None)
            if prompt is None:
                kinds.remove(kind)
            elif len(prompt) <= LONGEST_PROMPT and prompt.strip() not in asked:
                found.setdefault(prompt)
    return list(found)[:count]


def write_answers(session: Session, prompts: list[str], answers: Path, *, max_new_tokens: int, batch_size: int) -> None:
    """Let the verifier answer, greedily and through its chat template, unless the answers are there; continues what stopped.

    What ``ar-decode text MODEL --input prompts.jsonl --output answers.jsonl --chat --resume`` writes. Prompts of similar
    length come after another, so that a batch pads little.
    """
    if answers.is_file():
        return
    source = answers.with_name("prompts.jsonl")
    ordered = sorted(prompts, key=len)
    write_jsonl(source, ({"id": str(number), "prompt": prompt} for number, prompt in enumerate(ordered)))
    decode_file(
        session,
        build_method("ar", session, {}, {}),
        Generation(max_new_tokens),
        source,
        answers,
        batch_size=batch_size,
        use_chat=True,
        resume=True,
    )


def answered(answers: Path) -> list[dict[str, Any]]:
    """The answers, but for empty ones."""
    lines = answers.read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["output"]]


def training_record(tokenizer: Any, answer: dict[str, Any]) -> dict[str, str]:
    """A record of data of kind ``prompt``: the conversation as the verifier read it, and what it wrote.

    Only an answer that came to its end has the token that ends one: many are cut off by their limit, and a drafter that
    learned to stop there would propose it.
    """
    turn = [{"role": "user", "content": answer["prompt"]}]
    prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    end = tokenizer.eos_token if answer["finish"] == "stop_id" else ""
    return {"prompt": prompt, "completion": answer["output"] + end}


def _instructions(text: Path) -> Iterator[str]:
    for name in ("instruct_seed_tasks.jsonl", "instruct_user_oriented.jsonl"):
        for record in FileRecords(text / name):
            given = record.data["instances"][0]["input"]
            yield "\n\n".join(part for part in (record.data["instruction"], given) if part)
