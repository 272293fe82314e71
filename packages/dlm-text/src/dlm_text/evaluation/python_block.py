"""The program in an answer."""

import re

__all__ = ["python_block"]

_FENCE = re.compile(r"```[ \t]*(?:python3?|py)?[ \t]*\r?\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL | re.IGNORECASE)


def python_block(text: str) -> str:
    """The first fenced block (one marked as Python before others; one that was not closed runs to the end), else all of it."""
    marked = re.search(r"```[ \t]*(?:python3?|py)[ \t]*\r?\n", text, re.IGNORECASE)
    found = _FENCE.search(text, marked.start() if marked else 0)
    return found[1] if found else text
