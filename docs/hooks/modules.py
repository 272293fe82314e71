"""Which modules the workspace has, and on which page of the reference each one is."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "SOURCES", "Module", "anchor_of", "modules", "page_of"]

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted(ROOT.glob("*/src")), *sorted(ROOT.glob("*/*/src"))]
"""Folders that the packages of the workspace are in."""
BESIDE = "recipes"
"""A folder whose modules are a few lines each, and which is shown with the folder that holds it."""


@dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        name: as it is imported.
        path: its file.
        summary: first line of its docstring.
    """

    name: str
    path: Path
    summary: str

    @property
    def is_package(self) -> bool:
        """Whether it is a folder."""
        return self.path.name == "__init__.py"

    @property
    def room(self) -> str:
        """The folder, as it is imported, on whose page it is."""
        parts = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        return ".".join(parts[:-1] if parts[-1] == BESIDE else parts)


@cache
def modules() -> tuple[Module, ...]:
    """All modules whose names do not begin with an underscore, packages before what they hold."""
    found = []
    for source in SOURCES:
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if any(part.startswith("_") for part in name.split(".")):
                continue
            found.append(Module(name, path, _summary(path)))
    return tuple(sorted(found, key=lambda module: module.name))


def page_of(room: str) -> str:
    """The page of a folder of modules, below `docs/`."""
    return f"reference/{room.replace('.', '/')}/index.md"


@cache
def anchor_of(path: Path) -> str | None:
    """Page and anchor of what documents a file or folder of the workspace's Python code; None if nothing does."""
    wanted = path / "__init__.py" if path.is_dir() else path
    module = next((one for one in modules() if one.path == wanted), None)
    return None if module is None else f"{page_of(module.room)}#{module.name}"


def _summary(path: Path) -> str:
    _, quotes, rest = path.read_text(encoding="utf-8").partition('"""')
    return rest.partition("\n")[0].partition('"""')[0].strip() if quotes else ""
