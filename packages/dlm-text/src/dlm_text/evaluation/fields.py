"""Fields of a record, checked."""

from typing import Any

from ar_core.data.records import Record
from ar_core.errors import DataError

__all__ = ["text_field", "texts_field"]

NAMED_KEYS = 5
"""So many keys of a wrong record show what it is."""


def text_field(record: Record, *names: str) -> str:
    """The text under the first of some names that the record has.

    Raises:
        DataError: it has none of them, or no text there.
    """
    return str(_field(record, names, str, "text"))


def texts_field(record: Record, *names: str) -> list[str]:
    """The list of texts under the first of some names that the record has; not empty.

    Raises:
        DataError: it has none of them, or no such list there.
    """
    found: list[str] = _field(record, names, list, "a list of texts")
    if not found or not all(isinstance(text, str) for text in found):
        raise DataError(f"{record.place}: {names[0]!r} must be a list of texts with at least one in it.")
    return found


def _field(record: Record, names: tuple[str, ...], kind: type, what: str) -> Any:
    name = next((name for name in names if name in record.data), None)
    if name is None:
        keys = ", ".join(map(repr, sorted(record.data)[:NAMED_KEYS])) or "none"
        raise DataError(
            f"{record.place}: the keys are {keys}, and {' or '.join(map(repr, names))} is needed ({what}); give the data set in its "
            "original layout."
        )
    value = record.data[name]
    if not isinstance(value, kind):
        raise DataError(f"{record.place}: {name!r} is a {type(value).__name__}; it must be {what}.")
    return value
