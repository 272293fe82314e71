"""Files of questions about images."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ar_core.config import expand_path
from ar_core.data import Record
from ar_core.errors import DataError
from ar_core.pictures import read_picture

from ..chat.conversation import Turn, check_images, image_paths, read_turns
from ..data.files import picture_root, read_conversations

__all__ = ["Request", "read_requests"]

TEXTS = ("prompt", "question")
CONVERSATIONS = ("conversations", "messages")


@dataclass(frozen=True)
class Request:
    """One question."""

    id: str
    """What the answer is labelled with."""
    turns: Sequence[Turn]
    """What was said so far; the user's turn is the last."""
    images: tuple[Path, ...]
    """Picture files in the order of their places."""
    place: str
    """Names it in messages."""
    data: Mapping[str, Any]
    """The whole record."""

    @property
    def text(self) -> str:
        """What the user asked last."""
        return self.turns[-1].text

    def pictures(self) -> list[np.ndarray]:
        """Its pictures, uint8 [H, W, 3] each.

        Raises:
            DataError: one cannot be read; names it.
        """
        return [read_picture(path, f"{path} ({self.place})") for path in self.images]


def read_requests(path: Path, image_root: Path | None, *, limit: int) -> list[Request]:
    """Read questions: JSON Lines, a JSON list or a mix, as of training data.

    A record has one of ``prompt`` and ``question`` (a text), or of ``conversations`` and ``messages`` (turns; what the assistant says
    last is left out, so that training data can be asked), and may have ``image`` or ``images`` (a path, or a list of paths) and
    ``id`` (or ``question_id``); ids are numbers of records where there is none.

    Args:
        path: the file; `~` and `$NAME` are expanded, in `image_root` too.
        image_root: what image paths are relative to; None: the file's folder. An `image_root` of a mix goes before it.
        limit: most images of a question.

    Raises:
        ConfigError: a mix is malformed.
        DataError: the file or a record is malformed, images and places for them do not agree, an image is missing, or two
            records have one id. Nothing has been decoded then.
    """
    path = expand_path(str(path))
    root = None if image_root is None else expand_path(str(image_root))
    records, _ = read_conversations(path, image_root=root)
    found = [_request(record, number, limit) for number, record in enumerate(records, start=1)]
    if not found:
        raise DataError(f"{path} holds no questions: give one a line")
    seen: dict[str, str] = {}
    for one in found:
        if one.id in seen:
            raise DataError(f"{one.place} has the id {one.id!r} of {seen[one.id]}: give each its own, or none")
        seen[one.id] = one.place
    return found


def _request(record: Record, number: int, limit: int) -> Request:
    data, place = record.data, record.place
    given = [key for key in (*TEXTS, *CONVERSATIONS) if key in data]
    if len(given) != 1:
        raise DataError(
            f"{place} has {' and '.join(given) or 'no question'}: give exactly one of {', '.join((*TEXTS, *CONVERSATIONS))}"
        )
    key = given[0]
    if key in TEXTS:
        if not isinstance(data[key], str) or not data[key].strip():
            raise DataError(f"{place}: {key} is {data[key]!r:.60}; give a text")
        turns = read_turns([{"from": "human", "value": data[key]}], place)
    else:
        turns = read_turns(data[key], place)
        while turns and turns[-1].role == "assistant":
            del turns[-1]
        if not turns:
            raise DataError(f"{place}: {key} holds no turn of the user's that could be answered; add one")
    folder = picture_root(record)
    images = tuple(folder / name for name in image_paths(data, place))
    check_images(turns, len(images), place, limit=limit)
    for image in images:
        if not os.path.isfile(image):
            raise DataError(
                f"{image} ({place}) does not exist: correct the path, or image_root, the folder that it is relative to"
            )
    name = next((data[key] for key in ("id", "question_id") if data.get(key) is not None), number)
    return Request(str(name), turns, images, place, data)
