"""A version is told in pyproject.toml, in ``__version__``, in the changelog and by the tag: whether they agree."""

import re

from .changelog import read_changelog
from .errors import ReleaseError
from .package import Package
from .tags import Tag

__all__ = ["VERSION_LINE", "check_version"]

VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
"""The line of ``__init__.py`` that tells the version; its group is the version."""


def check_version(package: Package, tag: Tag | None) -> str:
    """Hold the places of a version against each other; returns what is noteworthy.

    With a tag, the changelog's section has to have its day, since what is tagged is released.
    """
    told = package.version
    init = package.source / "__init__.py"
    written = VERSION_LINE.search(init.read_text(encoding="utf-8"))
    if written is None or written[1] != told:
        other = written[1] if written else "none"
        raise ReleaseError(f"pyproject.toml of {package.name} has version {told} and __version__ is {other}")
    if tag and (tag.name, tag.version) != (package.name, told):
        raise ReleaseError(
            f"the tag {tag.text} is not of {package.name} {told}, which is the version in pyproject.toml"
        )
    sections = [one for one in read_changelog(package.folder / "CHANGELOG.md") if one.version]
    if not sections or sections[0].version != told:
        newest = sections[0].version if sections else "none"
        raise ReleaseError(
            f"pyproject.toml of {package.name} has version {told} and its changelog's newest is {newest}"
        )
    if not sections[0].text:
        raise ReleaseError(f"the changelog of {package.name} says nothing under {told}; write what changed")
    if sections[0].date is None:
        if tag:
            raise ReleaseError(
                f"the changelog of {package.name} calls {told} unreleased; `release bump {package.name} first` gives it its day"
            )
        return f"{told}, not dated yet"
    return f"{told} of {sections[0].date}"
