"""TinyStories (CDLA-Sharing-1.0), text alone: what answers of some 256 tokens are learnt from."""

from pathlib import Path

from ar_core.data.records import FileRecords

from .records import Item

__all__ = ["TELL", "stories"]

TELL = "Tell a story."
WORDS = (170, 230)
"""Fewest and most words of a story."""
COUNT = 400


def stories(file: Path) -> list[Item]:
    """The first 400 stories of a fitting length, one conversation each.

    Raises:
        DataError: the file cannot be read.
    """
    found: list[Item] = []
    for record in FileRecords(file):
        text = " ".join(str(record.data.get("text", "")).split())
        if WORDS[0] <= len(text.split()) <= WORDS[1]:
            found.append(Item(None, conversations=(((TELL, text),),)))
        if len(found) == COUNT:
            break
    return found
