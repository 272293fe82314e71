"""easy-VQA (MIT): one shape on a ground of noise, 64 x 64, and questions with 13 answers."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ar_core.errors import DataError

from .records import Item, Question, Sides, apart, draw

__all__ = ["DESCRIBE", "description", "easy_vqa"]

FETCH = "fetch it with `python -m pip download --no-deps easy-vqa==1.0`"
SHAPES = ("circle", "rectangle", "triangle")
COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
DESCRIBE = "Describe the picture in three sentences."
TURNS = 5
"""Most questions of a conversation, so that a picture is encoded once for several."""


def easy_vqa(wheel: Path) -> Sides:
    """Its own split.

    Raises:
        DataError: the file is no wheel of easy-VQA.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            train, held_out = (list(_items(archive, side)) for side in ("train", "test"))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{wheel} cannot be read as the wheel of easy-VQA ({error}): {FETCH}") from error
    return apart(train, held_out)


def description(shape: str, colour: str) -> str:
    """The answers of a picture as three sentences of 24 words, of one form: a text of that length that can be right or wrong."""
    first, second = (other for other in SHAPES if other != shape)
    return (
        f"The picture shows one shape. It is a {shape} and its color is {colour}. "
        f"There is no {first} and no {second} in the picture."
    )


def _items(archive: zipfile.ZipFile, side: str) -> Iterator[Item]:
    asked: dict[int, list[tuple[str, str]]] = {}
    for question, answer, picture in json.loads(archive.read(f"easy_vqa/data/{side}/questions.json")):
        asked.setdefault(picture, []).append((_sentence(question), answer))
    for number, pairs in sorted(asked.items()):
        # Any question may be the first, as it is when it is asked alone.
        pairs.sort(key=lambda pair: draw(side, number, *pair))
        turns = [tuple(pairs[begin : begin + TURNS]) for begin in range(0, len(pairs), TURNS)]
        questions = [Question(_kind(answer), question, (answer,)) for question, answer in pairs]
        if told := _told(pairs):
            turns.append(((DESCRIBE, told),))
            questions.append(Question("description", DESCRIBE, (told,)))
        picture = archive.read(f"easy_vqa/data/{side}/images/{number}.png")
        yield Item(picture, conversations=tuple(turns), questions=tuple(questions))


def _sentence(question: str) -> str:
    return question[:1].upper() + question[1:]


def _kind(answer: str) -> str:
    return "shape" if answer in SHAPES else "color" if answer in COLOURS else "yes or no"


def _told(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The description of a picture whose shape and colour were both asked for."""
    answers = {answer for _, answer in pairs}
    shapes, colours = answers & set(SHAPES), answers & set(COLOURS)
    return description(shapes.pop(), colours.pop()) if len(shapes) == len(colours) == 1 else None
