"""One page, from its first block to its last."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import yaml

from . import resolving, running
from .commands import Command, commands
from .pages import ROOT, Block, blocks, indented_code
from .resolving import SnippetError
from .rules import rule_of
from .running import Printed

__all__ = ["run_page"]

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
TRAIN = re.compile(r"(?:ar-train|ar-decode|tune|torchrun|python) .*")


class Page:
    """The state between the blocks of a page.

    Args:
        path: the page.
        folder: a scratch folder, which is the current one.
        place: puts what a command names into the scratch folder, if there is a stand-in.
    """

    def __init__(self, path: Path, folder: Path, place: Callable[[str, str, Path], None]) -> None:
        self.name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        self.folder = folder
        self.place = place
        # A module, since dataclasses and type hints look up where a class is from.
        self.module = types.ModuleType("snippets_of_a_page")
        self.printed: Printed | None = None
        self.typed = ""
        self.resolved_only = False

    def run(self, block: Block) -> None:
        """Do with a block what its language says."""
        if block.note and block.note.startswith("file: "):
            target = self.folder / block.note.removeprefix("file: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        handler = {
            "python": self._python,
            "bash": self._bash,
            "text": self._text,
            "yaml": lambda block: yaml.safe_load(block.text),
            "json": lambda block: json.loads(block.text),
            "jsonl": lambda block: [json.loads(line) for line in block.text.splitlines()],
            "toml": lambda block: tomllib.loads(block.text),
        }.get(block.language)
        if handler is None:
            raise SnippetError(
                f"the language {block.language!r} is none of python, bash, text, yaml, json, jsonl, toml"
            )
        handler(block)
        if block.language not in ("python", "bash"):
            self.printed = None

    def _python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.text, self.name, "exec")
        self.printed, self.resolved_only = None, False
        if _said(block, "not run") or _said(block, "file"):
            return
        self._place(block.text)
        # Set by hand: putting the whole table back would import torch's extensions twice.
        sys.modules[self.module.__name__] = self.module
        try:
            with running.captured() as printed:
                exec(code, self.module.__dict__)
        finally:
            del sys.modules[self.module.__name__]
        self.printed = printed

    def _bash(self, block: Block) -> None:
        self.printed = Printed()
        self.resolved_only = False
        self.typed = (block.note or "").removeprefix("typed: ") if _said(block, "typed: ") else ""
        if block.text.startswith("#!"):
            self._script(block)
            return
        for command in commands(block.text):
            try:
                self.printed += self._command(command)
            except Exception as error:
                kind = "" if isinstance(error, SnippetError) else f"{type(error).__name__}: "
                raise SnippetError(f"line {block.line + command.line}: {command.text}\n{kind}{error}") from error

    def _script(self, block: Block) -> None:
        """A script is for another machine: its syntax is checked, and each command of ours in it."""
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for line in block.text.replace("\\\n", " ").splitlines():
            if not line.startswith("#") and (ours := TRAIN.search(line)):
                resolving.resolve(commands(re.sub(r"\$\{?\w+\}?", "1", ours[0]))[0].words)

    def _command(self, command: Command) -> Printed:
        rule = rule_of(self.name, command.text)
        self._place(" ".join([command.text, *command.environment.values()]))
        # A variable of the command alone is gone behind it; what the command itself exports stays.
        own = mock.patch.dict(os.environ, command.environment) if command.environment else contextlib.nullcontext()
        with own:
            words = [os.path.expandvars(word) for word in command.words]
            if rule.reason is not None:
                resolving.resolve(words)
                self.resolved_only = True
                return Printed()
            if not running.runnable(words):
                raise SnippetError("nothing here executes this: give a rule with a reason in tests/snippets/rules.py")
            return running.run([*words, *rule.more], self.typed)

    def _place(self, text: str) -> None:
        self.place(self.name, text, self.folder)

    def _text(self, block: Block) -> None:
        if not block.follows or self.printed is None or _said(block, "not compared"):
            return
        if self.resolved_only:
            raise SnippetError("a command in front of this output is not executed: write <!-- not compared: REASON -->")
        compare(block.text, self.printed.output, self.printed.both, numbers=not _said(block, "numbers vary"))


def _said(block: Block, note: str) -> bool:
    if block.note is None or not block.note.startswith(note):
        return False
    if note.startswith("not ") and not block.note.removeprefix(note).removeprefix(":").strip():
        raise SnippetError(f"the note {block.note!r} gives no reason")
    return True


def compare(shown: str, *printed: str, numbers: bool = True) -> None:
    """Hold an output on a page against what was printed.

    Args:
        shown: ``...`` in it stands for anything.
        printed: any of these will do; trailing spaces do not count, nor do empty lines at both ends.
        numbers: whether they have to be equal; if not, the width of columns is free too.

    Raises:
        SnippetError: they differ.
    """

    def cleaned(text: str) -> str:
        lines = [line.rstrip() for line in text.strip("\n").splitlines()]
        if numbers:
            return "\n".join(lines)
        return "\n".join(re.sub(r"[ ─━┄-]{2,}", " ", NUMBER.sub("0", line)).strip() for line in lines)

    pattern = ".*?".join(re.escape(part) for part in cleaned(shown).split("..."))
    if not any(re.fullmatch(pattern, cleaned(one), re.DOTALL) for one in printed):
        raise SnippetError(f"the page shows\n{shown}\nand this was printed\n{printed[-1]}")


def run_page(path: Path, folder: Path, place: Callable[[str, str, Path], None], text: str | None = None) -> None:
    """Run all blocks of a page in a scratch folder, which has to be the current one.

    Raises:
        SnippetError: a block does not do what the page says; names the line.
    """
    text = path.read_text(encoding="utf-8") if text is None else text
    for line in indented_code(text):
        raise SnippetError(f"{path.name}, line {line}: code is set off by spaces; fence it and name its language")
    page = Page(path, folder, place)
    with mock.patch.dict(os.environ):
        for block in blocks(text):
            try:
                page.run(block)
            except Exception as error:
                where = f"{page.name}, line {block.line} ({block.language or 'no language'})"
                raise SnippetError(f"{where}: {error}") from error
