"""The packages of the workspace, and which of them needs which."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.utils import canonicalize_name

from .errors import ReleaseError
from .package import Package, read_package

__all__ = ["Workspace", "find_workspace"]

IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
QUOTED_FILE = re.compile(r"""["'](?:[\w./-]+/)?([\w-]+\.\w+)["']""")


@dataclass(frozen=True)
class Workspace:
    """A checkout and its members, in the order in which they can be released: what is needed comes first."""

    root: Path
    """The folder of the checkout."""
    members: tuple[Package, ...]
    """All of them, also those that are never released."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """Those that are released."""
        return tuple(one for one in self.members if not one.private)

    def package(self, name: str) -> Package:
        """The package of a name."""
        for one in self.packages:
            if canonicalize_name(one.name) == canonicalize_name(name):
                return one
        raise ReleaseError(
            f"there is no package {name!r} to release; there are {', '.join(one.name for one in self.packages)}"
        )

    def siblings(self, package: Package) -> tuple[Package, ...]:
        """Members that a package requires itself, in extras too."""
        needed = package.needs()
        return tuple(one for one in self.members if one is not package and canonicalize_name(one.name) in needed)

    @cached_property
    def test_words(self) -> dict[str, set[str]]:
        """Per member the modules that its tests import and the names of files that they have in quotes."""
        found = {}
        for one in self.members:
            texts = [file.read_text(encoding="utf-8") for file in (one.folder / "tests").rglob("*.py")]
            found[one.name] = {word for text in texts for form in (IMPORT, QUOTED_FILE) for word in form.findall(text)}
        return found

    @cached_property
    def test_needs(self) -> dict[str, set[str]]:
        """Per member the members that it requires or its tests import."""
        modules = {one.module: one.name for one in self.members}
        needs = {}
        for one in self.members:
            imported = self.test_words[one.name] & modules.keys()
            needs[one.name] = {modules[module] for module in imported} - {one.name}
            needs[one.name] |= {sibling.name for sibling in self.siblings(one)}
        return needs

    def dependents(self, names: Iterable[str]) -> set[str]:
        """The members of these names and all whose code or tests need one of them, at any distance."""
        found = set(names)
        while more := {name for name, needs in self.test_needs.items() if needs & found} - found:
            found |= more
        return found


def find_workspace(start: Path) -> Workspace:
    """The workspace that a folder is in."""
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            if patterns := content.get("tool", {}).get("uv", {}).get("workspace", {}).get("members"):
                return Workspace(folder, _ordered(folder, patterns))
    raise ReleaseError(f"{start} is in no uv workspace; run this command in a checkout")


def _ordered(root: Path, patterns: list[str]) -> tuple[Package, ...]:
    folders = sorted({path.parent for pattern in patterns for path in root.glob(f"{pattern}/pyproject.toml")})
    left = {canonicalize_name(one.name): one for one in (read_package(root, folder) for folder in folders)}
    ordered: list[Package] = []
    while left:
        ready = [name for name, one in left.items() if not (one.needs() & left.keys()) - {name}]
        if not ready:
            raise ReleaseError(f"the packages {', '.join(left)} need each other in a circle; take one requirement out")
        ordered += [left.pop(name) for name in ready]
    return tuple(ordered)
