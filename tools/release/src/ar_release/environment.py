"""Fresh environments that hold one package, its requirements, and nothing of the checkout."""

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .run import run, uv

__all__ = ["Environment", "fresh_environment", "locked_versions"]

INSTALLED = re.compile(r"^([A-Za-z0-9._-]+)(?:==| @ )", re.MULTILINE)
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the folder that programs run in."""

    folder: Path
    """Where programs run; the interpreter is below it."""
    wheels: Path
    """Folder that siblings are installed from."""
    constraints: Path
    """Versions that may be installed."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *requirements: str) -> None:
        """Install requirements, siblings from the folder of wheels alone."""
        where: list[str | Path] = [
            "--python",
            self.python,
            "--find-links",
            self.wheels,
            "--constraint",
            self.constraints,
        ]
        uv(self.folder, "pip", "install", "--quiet", *where, *requirements)

    def names(self) -> set[str]:
        """What is installed."""
        return set(INSTALLED.findall(uv(self.folder, "pip", "freeze", "--python", self.python)))

    def run(self, *words: str | Path, seconds: float = 600) -> str:
        """Run one of its programs in an empty folder of its own."""
        place = self.folder / "work"
        place.mkdir(exist_ok=True)
        return run([self.folder / "bin" / words[0], *words[1:]], cwd=place, seconds=seconds)


def fresh_environment(folder: Path, wheels: Path, constraints: list[str], python: str | None = None) -> Environment:
    """An empty environment of this interpreter, or of another one that uv finds; constraints are lines such as ``torch==2.11.0``."""
    uv(folder.parent, "venv", "--quiet", "--python", python or sys.executable, folder)
    limits = folder / "constraints.txt"
    limits.write_text("".join(f"{line}\n" for line in constraints))
    return Environment(folder, wheels, limits)


@cache
def locked_versions(root: Path) -> list[str]:
    """Lines of constraints with the versions of uv.lock, the workspace's members apart."""
    options = [
        "--locked",
        "--no-hashes",
        "--no-dev",
        "--no-header",
        "--no-emit-workspace",
        "--all-packages",
        "--all-extras",
    ]
    return [line for line in uv(root, "export", "--quiet", *options).splitlines() if PINNED.match(line)]
