"""Reference answers of a question."""

from collections.abc import Mapping
from typing import Any

from ar_core.errors import DataError

from ..chat.conversation import read_turns

__all__ = ["references_of"]

NAMES = ("answers", "answer", "captions", "caption", "reference")


def references_of(data: Mapping[str, Any], place: str) -> list[str]:
    """The texts under one of ``answers``, ``answer``, ``captions``, ``caption`` and ``reference``: a text, or a list of texts or of
    objects with ``answer`` (as in VQAv2); where none is given, what the assistant says last in ``conversations`` or ``messages``.

    Raises:
        DataError: there is none, or more than one of these fields.
    """
    fields = [name for name in NAMES if data.get(name) is not None]
    if len(fields) > 1:
        raise DataError(
            f"{place} has {' and '.join(fields)}, and references are read from one field alone: drop the others"
        )
    for name in fields:
        value = data[name]
        entries = value if isinstance(value, list) else [value]
        given = [entry.get("answer") if isinstance(entry, Mapping) else entry for entry in entries]
        found = [one for one in given if isinstance(one, str) and one]
        if not found or len(found) < len(given):
            raise DataError(f"{place}: {name} is {value!r:.60}; give a text, or a list of texts")
        return found
    for name in ("conversations", "messages"):
        if name in data:
            turns = read_turns(data[name], place)
            if turns and turns[-1].role == "assistant":
                return [turns[-1].text]
    raise DataError(f"{place} has no reference to hold the answer against; give it under one of {', '.join(NAMES)}")
