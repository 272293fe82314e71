"""Results for programs: one JSON document on standard output, and nothing else there."""

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

__all__ = ["document", "only_the_document", "print_document", "undocumented"]


def document(data: Any) -> str:
    """Write data as one JSON document, indented, with a line break at its end.

    Numbers that JSON lacks (infinite, none) become null and paths become text.
    """
    return json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def print_document(data: Any) -> None:
    """Print :func:`document` on standard output."""
    sys.stdout.write(document(data))
    sys.stdout.flush()


def undocumented(data: Mapping[str, Any], fields: Iterable[str]) -> set[str]:
    """Return the fields of a document that its command does not tell of.

    Args:
        data: the document.
        fields: documented names, one or several with ``", "`` between.
    """
    return set(data) - {name for names in fields for name in names.split(", ")}


@contextmanager
def only_the_document(wanted: bool = True) -> Iterator[None]:
    """Send what is printed while the block runs to standard error, by libraries in C and by child processes too.

    Args:
        wanted: False leaves standard output as it is.
    """
    if not wanted:
        yield
        return
    sys.stdout.flush()
    with ExitStack() as stack:
        if _is_the_process_output():
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _is_the_process_output() -> bool:
    """Whether ``sys.stdout`` is the process's own output and not, as in tests and notebooks, a stand-in."""
    try:
        return sys.stdout.fileno() == 1
    except (AttributeError, OSError, ValueError):
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
