"""Records of the published data format as turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ar_core.errors import DataError

__all__ = ["MARKER", "Turn", "check_images", "image_paths", "read_turns", "turns_of"]

MARKER = "<image>"
"""Where an image stands in a text."""

Role = Literal["user", "assistant"]
ROLES: Mapping[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


@dataclass(frozen=True)
class Turn:
    """What one side says."""

    role: Role
    """Who says it."""
    text: str
    """The words; images stand where they have ``<image>``, see :func:`check_images`."""


def read_turns(conversations: Any, place: str) -> list[Turn]:
    """Read `[{"from": "human" | "gpt", "value": text}, ...]`.

    A first turn that is not human is dropped (published), and only that one.

    Args:
        conversations: of a record; `role` and `content` may stand for `from` and `value`.
        place: names the record in messages.

    Raises:
        DataError: it is no such list.
    """
    if not isinstance(conversations, Sequence) or isinstance(conversations, str):
        raise DataError(f"{place}: conversations is {conversations!r:.60}; give a list of turns")
    turns = []
    for number, entry in enumerate(conversations, start=1):
        role = str(entry.get("from", entry.get("role"))) if isinstance(entry, Mapping) else ""
        text = entry.get("value", entry.get("content")) if isinstance(entry, Mapping) else None
        if role not in ROLES or not isinstance(text, str):
            raise DataError(
                f'{place}: turn {number} is {entry!r:.60}; give {{"from": "human" or "gpt", "value": a text}}'
            )
        turns.append(Turn(ROLES[role], text))
    if turns and turns[0].role != "user":
        del turns[0]
    return turns


def turns_of(conversations: Any, place: str) -> list[Turn]:
    """Read a conversation to learn from; see :func:`read_turns`.

    Raises:
        DataError: it is no such list, or holds no turn of the assistant's behind one of a human's.
    """
    turns = read_turns(conversations, place)
    roles = [turn.role for turn in turns]
    if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
        raise DataError(
            f"{place}: no turn behind a human's is an assistant's, so nothing is left to learn; drop the record"
        )
    return turns


def image_paths(data: Mapping[str, Any], place: str) -> list[str]:
    """The pictures of a record: its entry `image` or `images`, a path or a list of paths, as a list; empty where it has neither.

    Args:
        data: of the record.
        place: names it in messages.

    Raises:
        DataError: the entry is something else, or it has both.
    """
    given = [key for key in ("image", "images") if data.get(key) is not None]
    if not given:
        return []
    if len(given) > 1:
        raise DataError(f"{place} has image and images, which mean the same; give all its pictures in one of them")
    found = data[given[0]]
    paths = [found] if isinstance(found, str) else found
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise DataError(f"{place}: {given[0]} is {found!r:.60}; give the path of a picture, or a list of paths")
    return paths


def check_images(turns: Sequence[Turn], images: int, place: str, *, limit: int, break_after: bool = True) -> list[Turn]:
    """Hold the number of images against the places for them, and put them where the model reads them.

    Where the text has no place at all, all images go in front of the first user turn. A turn with exactly one image that does not
    begin with it gets it in front (published); several images of a turn stay where they are. What comes out stays as it is when
    checked again.

    Args:
        turns: of the conversation.
        images: how many there are.
        place: names it in messages.
        limit: most images.
        break_after: put a line break behind each image that goes in front.

    Returns:
        The turns, with a place for each image.

    Raises:
        DataError: more or fewer images than places, more than the limit, or no user turn to put them in.
    """
    if images > limit:
        raise DataError(
            f"{place}: it has {images} images and at most {limit} are taken; leave some out, or raise max_images"
        )
    marker = f"{MARKER}\n" if break_after else MARKER
    places = sum(turn.text.count(MARKER) for turn in turns)
    if images and not places:
        first = next((number for number, turn in enumerate(turns) if turn.role == "user"), None)
        if first is None:
            raise DataError(f"{place}: it has images and no user turn that they could stand in; add one")
        with_images = Turn("user", marker * images + turns[first].text)
        return [*turns[:first], with_images, *turns[first + 1 :]]
    if places != images:
        raise DataError(
            f"{place}: the text has {places} places for images ({MARKER}) and {images} images were given; give as many of one as of "
            "the other"
        )
    return [Turn(turn.role, _image_in_front(turn.text, marker)) for turn in turns]


def _image_in_front(text: str, marker: str) -> str:
    if text.count(MARKER) != 1 or text.startswith(MARKER):
        return text
    return f"{marker}{text.replace(MARKER, '').strip()}".strip()
