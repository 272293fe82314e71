"""Blocks of shell, taken apart into the commands that they hold."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Command", "commands"]

SET = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        line: within the block, from 1.
        words: as the program gets them, but for variables, which are not yet replaced.
        environment: variables that are set for it alone.
        text: as it is written, without a comment, on one line.
    """

    line: int
    words: tuple[str, ...]
    environment: Mapping[str, str]
    text: str


def commands(block: str) -> list[Command]:
    """The commands of a block, in order.

    Lines may be continued by a backslash, joined by ``&&``, begin with variables, and end with a comment.

    Raises:
        ValueError: what the shell would read otherwise: pipes, redirections, substitutions, several commands joined by anything else,
            and quotes that are not closed.
    """
    found: list[Command] = []
    for line, text in _joined(block):
        for words in _split(line, text):
            environment: dict[str, str] = {}
            while words and SET.match(words[0]):
                name, _, value = words[0].partition("=")
                environment[name] = value
                words = words[1:]
            if not words:
                raise ValueError(f"line {line}: a variable is set for no command; write export")
            found.append(Command(line, tuple(words), environment, shlex.join(words)))
    return found


def _joined(block: str) -> Iterator[tuple[int, str]]:
    start, held = 0, ""
    for number, line in enumerate(block.splitlines(), 1):
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        if (held + line).strip():
            yield start, held + line
        held = ""
    if held:
        raise ValueError(f"line {start}: nothing follows the backslash")


def _split(line: int, text: str) -> Iterator[list[str]]:
    try:
        reader = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
        reader.whitespace_split = True
        words = list(reader)
    except ValueError as error:
        raise ValueError(f"line {line}: {error} in {text!r}") from None
    part: list[str] = []
    for word in [*words, "&&"]:
        if word == "&&":
            if part:
                yield part
            part = []
        elif set(word) <= set("();<>|&"):
            raise ValueError(f"line {line}: {word!r} is not understood; write separate commands")
        else:
            part.append(word)
