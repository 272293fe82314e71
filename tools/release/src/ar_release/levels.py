"""Semantic versions: what a change asks for, and the version that a bump leads to."""

from collections.abc import Sequence

from packaging.version import Version

__all__ = ["LEVELS", "asked_level", "bumped"]

LEVELS = ("patch", "minor", "major")
"""Names of the parts of a version that can be raised, the least first."""


def bumped(version: str, level: str) -> str:
    """The version that follows by a level, such as 0.2.0 after 0.1.3 by ``minor``."""
    major, minor, patch = Version(version).release
    return {"patch": f"{major}.{minor}.{patch + 1}", "minor": f"{major}.{minor + 1}.0", "major": f"{major + 1}.0.0"}[
        level
    ]


def asked_level(version: str, broken: Sequence[str], added: Sequence[str]) -> str:
    """The least level for changes since a version: before 1.0.0, the minor number is what incompatible changes raise."""
    grown = Version(version).major > 0
    if broken:
        return "major" if grown else "minor"
    return "minor" if added and grown else "patch"
