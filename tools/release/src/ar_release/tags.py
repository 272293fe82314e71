"""Tags of releases: ``NAME-vX.Y.Z``, one a package and version. ``NAME-X.Y.Z`` is read as well."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from .errors import ReleaseError
from .package import Package
from .run import git

__all__ = ["Tag", "last_tag", "parse_tag", "released_versions", "tag_name"]

FORM = re.compile(r"(?P<name>[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*)-v?(?P<version>\d+\.\d+\.\d+)")


@dataclass(frozen=True)
class Tag:
    """A tag, and what it names."""

    text: str
    """As git has it, such as ``ar-core-v0.1.0``."""
    name: str
    """The package."""
    version: str
    """The version behind the name, such as ``0.1.0``."""


def parse_tag(text: str) -> Tag:
    """The package and version that a tag names."""
    if not (matched := FORM.fullmatch(text)):
        raise ReleaseError(f"the tag {text!r} names no package and version; allowed are tags such as ar-core-v0.1.0")
    return Tag(text, matched["name"], matched["version"])


def tag_name(package: Package) -> str:
    """The tag of a package at its version."""
    return f"{package.name}-v{package.version}"


def released_versions(root: Path, name: str) -> dict[str, str]:
    """Versions of a package that have a tag, with their tags, oldest version first."""
    found = (parse_tag(text) for text in git(root, "tag", "--list", f"{name}-*").split() if FORM.fullmatch(text))
    own = {tag.version: tag.text for tag in found if tag.name == name}
    return dict(sorted(own.items(), key=lambda item: Version(item[0])))


def last_tag(package: Package, *, before: str | None = None) -> str | None:
    """The tag of the newest release of a package, or None; with `before`, of the newest that is older than this version."""
    tags = [
        text
        for version, text in released_versions(package.root, package.name).items()
        if before is None or Version(version) < Version(before)
    ]
    return tags[-1] if tags else None
