"""A member of the workspace: what its pyproject.toml says, and what it says about its release."""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .errors import ReleaseError

__all__ = ["Package", "ReleaseSettings", "read_package"]

PRIVATE = "Private :: Do Not Upload"


@dataclass(frozen=True)
class ReleaseSettings:
    """The table ``[tool.ar-release]`` of a package: what differs from the rules for all."""

    data: tuple[str, ...] = ()
    """Files beside code that the wheel may hold: patterns below ``src/``, such as ``ar_quickstart/weights/**``."""
    max_mib: float = 2.0
    """The largest that wheel and source archive may be, in MiB each."""
    unbuilt_extras: tuple[str, ...] = ()
    """Extras whose requirements need a compiler or a device to install: resolved, not installed."""
    job_extras: tuple[str, ...] = ()
    """Extras that the tiny job needs."""
    job_with: tuple[str, ...] = ()
    """Members of the workspace that the tiny job needs beside the package, such as ``dlm-text[train]``."""


@dataclass(frozen=True)
class Package:
    """A member of the workspace."""

    root: Path
    """Of the workspace."""
    folder: Path
    """Its own, with pyproject.toml."""
    project: dict[str, Any]
    """The table ``[project]`` of it."""
    settings: ReleaseSettings
    """The table ``[tool.ar-release]`` of it."""

    @property
    def name(self) -> str:
        """As it is installed, such as ``ar-core``."""
        return str(self.project["name"])

    @property
    def module(self) -> str:
        """As it is imported, such as ``ar_core``."""
        return self.name.replace("-", "_")

    @property
    def version(self) -> str:
        """Of pyproject.toml."""
        return str(self.project["version"])

    @property
    def source(self) -> Path:
        """The folder of the code."""
        return self.folder / "src" / self.module

    @property
    def relative(self) -> str:
        """The folder below the root, such as ``packages/ar-core``."""
        return self.folder.relative_to(self.root).as_posix()

    @property
    def private(self) -> bool:
        """Whether it is never released."""
        return PRIVATE in self.project.get("classifiers", ())

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the optional dependencies."""
        return tuple(self.project.get("optional-dependencies", {}))

    @property
    def scripts(self) -> tuple[str, ...]:
        """Names of the console scripts."""
        return tuple(self.project.get("scripts", {}))

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """All of them, those of extras too."""
        optional = self.project.get("optional-dependencies", {}).values()
        return tuple(Requirement(line) for group in (self.project.get("dependencies", ()), *optional) for line in group)

    def needs(self) -> set[str]:
        """Canonical names of everything it requires, in extras too."""
        return {canonicalize_name(one.name) for one in self.requirements}


def read_package(root: Path, folder: Path) -> Package:
    """The member in a folder; its settings have to be known ones."""
    path = folder / "pyproject.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        project = content["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ReleaseError(f"{path} cannot be read as a project ({error}); give it a [project] table") from error
    given = {key.replace("-", "_"): value for key, value in content.get("tool", {}).get("ar-release", {}).items()}
    known = ReleaseSettings.__dataclass_fields__
    if unknown := sorted(given.keys() - known.keys()):
        raise ReleaseError(
            f"[tool.ar-release] of {path} has the unknown key {unknown[0]!r}; "
            f"allowed are {', '.join(key.replace('_', '-') for key in known)}"
        )
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return Package(root, folder, project, ReleaseSettings(**values))
