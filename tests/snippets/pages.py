"""Pages, and the fenced blocks on them."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "indented_code", "pages"]

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)$")
COMMENT = re.compile(r" *<!-- (?P<text>.*) -->$")
LANGUAGE = re.compile(r"[\w+-]*")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its opening fence, from 1.
        language: the first word behind the fence, which may be empty.
        text: its lines, without the indent of the fence.
        note: the comment of HTML right above it, without its marks.
        follows: whether nothing stands between the block before it and this one.
    """

    line: int
    language: str
    text: str
    note: str | None
    follows: bool


def pages() -> list[Path]:
    """Everything that a reader may copy from."""
    readmes = [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]
    cards = [*ROOT.glob("packages/*/examples/*/README.md"), *ROOT.glob("apps/*/src/*/weights/*/README.md")]
    return [*sorted({*readmes, *cards}), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: a fence is not closed.
    """
    found: list[Block] = []
    lines = text.splitlines()
    number, prose = 0, True
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            prose = prose or not (not lines[number].strip() or COMMENT.match(lines[number]))
            number += 1
            continue
        closing = re.compile(rf" *{opening['mark']}[`~]*\s*$")
        end = next((n for n in range(number + 1, len(lines)) if closing.match(lines[n])), None)
        if end is None:
            raise ValueError(f"line {number + 1}: the fence is not closed")
        indent = len(opening["indent"])
        inside = [line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines[number + 1 : end]]
        above = COMMENT.match(lines[number - 1]) if number else None
        language = LANGUAGE.match(opening["info"].strip())
        found.append(
            Block(
                number + 1,
                language[0] if language else "",
                "".join(f"{line}\n" for line in inside),
                above["text"] if above else None,
                not prose and bool(found),
            )
        )
        number, prose = end + 1, False
    return found


def indented_code(text: str) -> list[int]:
    """Lines, from 1, that begin a block of code by four spaces instead of a fence, where no list or admonition holds it."""
    found = []
    inside, container, before = False, False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside and line.strip():
            if line.startswith("    "):
                if not before.strip() and not container:
                    found.append(number)
            else:
                container = bool(re.match(r" *([-*+]|\d+\.) |!!!|\?\?\?|===", line)) or (
                    container and line.startswith(" ")
                )
        before = line if not inside else ""
    return found
