"""Fresh environments that hold one package, its requirements, and nothing of the checkout."""

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .run import run, uv

__all__ = ["Environment", "fresh_environment", "locked_versions", "locked_with_extra"]

INSTALLED = re.compile(r"^([A-Za-z0-9._-]+)(?:==| @ )", re.MULTILINE)
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the folder that programs run in."""

    folder: Path
    """Where programs run; the interpreter is below it."""
    constraints: Path
    """Versions and files that may be installed."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *requirements: str) -> None:
        """Install requirements, within the constraints."""
        where: list[str | Path] = ["--python", self.python, "--constraint", self.constraints]
        uv(self.folder, "pip", "install", "--quiet", *where, *requirements)

    def names(self) -> set[str]:
        """What is installed."""
        return set(INSTALLED.findall(uv(self.folder, "pip", "freeze", "--python", self.python)))

    def run(self, *words: str | Path, seconds: float = 600) -> str:
        """Run one of its programs in an empty folder of its own."""
        place = self.folder / "work"
        place.mkdir(exist_ok=True)
        return run([self.folder / "bin" / words[0], *words[1:]], cwd=place, seconds=seconds)


def fresh_environment(folder: Path, constraints: list[str], python: str | None = None) -> Environment:
    """An empty environment of this interpreter, or of another one that uv finds.

    Constraints are lines such as ``torch==2.11.0`` or ``ar-core @ file:///ar_core-0.1.0-py3-none-any.whl``.
    """
    uv(folder.parent, "venv", "--quiet", "--python", python or sys.executable, folder)
    limits = folder / "constraints.txt"
    limits.write_text("".join(f"{line}\n" for line in constraints))
    return Environment(folder, limits)


@cache
def locked_versions(root: Path) -> list[str]:
    """Lines of constraints with the versions of uv.lock, the workspace's members apart."""
    return _exported(root, "--all-packages", "--all-extras")


def locked_with_extra(root: Path, name: str, extra: str) -> list[str]:
    """What uv.lock resolves a member with one of its extras to, members of the workspace apart."""
    return _exported(root, "--package", name, "--extra", extra)


def _exported(root: Path, *chosen: str) -> list[str]:
    options = ("--quiet", "--locked", "--no-hashes", "--no-dev", "--no-header", "--no-emit-workspace")
    return [line for line in uv(root, "export", *options, *chosen).splitlines() if PINNED.match(line)]
