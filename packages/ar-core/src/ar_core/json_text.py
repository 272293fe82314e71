"""JSON from files that anyone may have written."""

import json
import re
from pathlib import Path
from typing import Any

from .errors import CheckpointError

__all__ = ["parse_json", "read_fields", "read_json"]

DEEPEST = 100
"""Levels of nesting. Whoever walks through data calls itself once a level, and Python allows a thousand."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text that what reads it can walk through, and can write again.

    Raises:
        ValueError: it is no JSON in UTF-8 (bytes also in UTF-16 or 32), is nested more than a hundred levels deep, or has an
            escape that is half a character (a lone surrogate).
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from error
    _check_depth(value)
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it has an escape that is half a character") from error
    return value


def read_json(path: Path) -> Any:
    """Read a file of one JSON text in UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: as :func:`parse_json`, or it is no UTF-8.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def read_fields(path: Path) -> dict[str, Any]:
    """Read a file of a checkpoint that holds one JSON mapping.

    Raises:
        CheckpointError: it cannot be read, or is no mapping; names the file.
    """
    try:
        found = read_json(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): give the folder of a checkpoint") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is no valid JSON ({error}): copy it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no mapping: copy it again")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")
