"""Conversations about images, questions and their references."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvlm.chat.conversation import check_images, image_paths, turns_of
from dvlm.data.files import read_conversations
from dvlm.decoding.requests import read_requests
from dvlm.evaluation.references import references_of

from ..loader import Loader
from .images import picture

__all__ = ["LOADERS"]

RECORDS: list[dict[str, Any]] = [
    {
        "id": 1,
        "image": "a.png",
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}],
    },
    {"id": "b", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    {
        "image": ["a.png", "a.png"],
        "conversations": [{"role": "user", "content": "<image> <image>"}, {"role": "assistant", "content": "x"}],
    },
]
QUESTIONS: list[dict[str, Any]] = [
    {"id": 1, "question": "What?", "image": "a.png", "answers": [{"answer": "cat"}, "dog"]},
    {"question_id": 2, "prompt": "Why?", "answer": "so"},
    {"id": 3, "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
]


def _data() -> Iterator[Any]:
    def lines(folder: Path) -> None:
        (folder / "a.png").write_bytes(picture())
        (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))

    def listed(folder: Path) -> None:
        (folder / "a.png").write_bytes(picture())
        (folder / "data.json").write_text(json.dumps(RECORDS))

    def mix(folder: Path) -> None:
        listed(folder)
        (folder / "mix.yaml").write_text(
            "datasets:\n  - json_path: data.json\n    sampling_strategy: first:2\n"
            "  - {json_path: data.json, sampling_strategy: 'random:50%', image_root: .}\n"
        )

    yield lines
    yield listed
    yield mix


def _read_data(folder: Path) -> None:
    names = ("mix.yaml", "data.json", "data.jsonl")
    path = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
    records, _ = read_conversations(path)
    for record in records:
        paths = image_paths(record.data, record.place)
        check_images(turns_of(record.data.get("conversations"), record.place), len(paths), record.place, limit=4)


def _questions() -> Iterator[Any]:
    def write(folder: Path) -> None:
        (folder / "a.png").write_bytes(picture())
        (folder / "questions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in QUESTIONS))

    yield write


def _read_questions(folder: Path) -> None:
    for request in read_requests(folder / "questions.jsonl", None, limit=4):
        references_of(request.data, request.place)
        for pixels in request.pictures():
            pixels.sum()


LOADERS = (
    # Records and mixes may name files anywhere.
    Loader("dvlm/conversations", _data, _read_data, contained=False),
    Loader("dvlm/questions", _questions, _read_questions, contained=False),
)
