"""What the command lines read: prompts, profiles, unfinished results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ar_decode.output import GrowingFile
from ar_decode.profile import Profile, read_profile
from ar_decode.prompts import encode, read_jsonl

from ..loader import Loader

__all__ = ["LOADERS"]

PROMPTS: tuple[dict[str, Any], ...] = (
    {"id": "a", "prompt": "How?", "category": "x"},
    {"question_id": 2, "turns": ["One?", "Two?"]},
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
)


def _words(text: str, verbose: bool = False) -> dict[str, list[int]]:
    return {"input_ids": list(text.encode("utf-8", "replace"))}


def _prompts() -> Iterator[Any]:
    text = "".join(json.dumps(prompt) + "\n" for prompt in PROMPTS)
    yield lambda folder: (folder / "prompts.jsonl").write_text(text)
    yield lambda folder: (folder / "prompts.jsonl").write_text(json.dumps(PROMPTS[0]) + "\n")


def _read_prompts(folder: Path) -> None:
    for prompt in read_jsonl(folder / "prompts.jsonl"):
        _ = prompt.label
        # Conversations are rendered by a chat template, which is no loader of ours.
        if isinstance(prompt.messages, str):
            encode(_words, prompt, chat=False)


def _profile() -> Iterator[Any]:
    profile = Profile(
        model="m",
        dtype="float32",
        context=10,
        batch=1,
        tokens=(1, 2),
        seconds=(0.5, 0.75),
        methods={"lookup": {"draft_length": 3}},
        explanation=("because",),
        environment={"device": {"name": "cpu", "threads": 1}},
    )
    yield lambda folder: profile.write(folder / "profile.json")


def _read_profile(folder: Path) -> None:
    read_profile(folder / "profile.json").settings("lookup")


JOB = {"model": "m", "settings": {"a": [1, 2]}}


def _unfinished() -> Iterator[Any]:
    def write(folder: Path) -> None:
        try:
            with GrowingFile(folder / "out.jsonl", JOB) as file:
                file.append('{"a": 1}')
                file.append('{"a": 2}')
                raise ValueError
        except ValueError:
            pass

    yield write


def _resume(folder: Path) -> None:
    with GrowingFile(folder / "out.jsonl", JOB, resume=True) as file:
        file.append("{}")


LOADERS = (
    Loader("ar_decode/prompts", _prompts, _read_prompts),
    Loader("ar_decode/profile", _profile, _read_profile),
    Loader("ar_decode/unfinished", _unfinished, _resume),
)
