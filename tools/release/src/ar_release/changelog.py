"""CHANGELOG.md of a package: sections under headings of versions, newest first.

Between releases the first heading is ``## Unreleased``; before a package's first release it is ``## X.Y.Z (unreleased)``. A released
section is headed ``## X.Y.Z (YYYY-MM-DD)``.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from .errors import ReleaseError

__all__ = ["Section", "read_changelog", "release_unreleased"]

HEADING = re.compile(r"^## (?P<title>.+?)[ \t]*$", re.MULTILINE)
TITLE = re.compile(r"(?P<version>\d+\.\d+\.\d+) \((?P<date>\d{4}-\d{2}-\d{2}|unreleased)\)")
UNRELEASED = "Unreleased"


@dataclass(frozen=True)
class Section:
    """What changed up to one version."""

    version: str | None
    """None under ``## Unreleased``."""
    date: str | None
    """None if it is not released."""
    text: str
    """Below the heading."""


def read_changelog(path: Path) -> list[Section]:
    """The sections of a changelog, newest first; :class:`ReleaseError` if there is none, or a heading has another form."""
    if not path.is_file():
        raise ReleaseError(f"{path} is not there; a package has a changelog")
    text = path.read_text(encoding="utf-8")
    headings = list(HEADING.finditer(text))
    if not headings:
        raise ReleaseError(f"{path} has no heading such as '## {UNRELEASED}' or '## 0.1.0 (2026-01-31)'")
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return [
        Section(*_version_and_date(path, heading["title"]), text[heading.end() : end].strip())
        for heading, end in zip(headings, ends)
    ]


def release_unreleased(path: Path, version: str, day: date) -> None:
    """Head what is not released yet with a version and a day; an own heading ``## Unreleased`` stays above it, empty."""
    first = read_changelog(path)[0]
    if first.date is not None:
        raise ReleaseError(
            f"{path} has nothing unreleased: its first heading is of {first.version}, released {first.date}; "
            f"write what changed under '## {UNRELEASED}'"
        )
    if not first.text:
        raise ReleaseError(f"{path} says nothing under its first heading; write what changed")
    text = path.read_text(encoding="utf-8")
    headed = HEADING.sub(f"## {UNRELEASED}\n\n## {version} ({day.isoformat()})", text, count=1)
    path.write_text(headed, encoding="utf-8")


def _version_and_date(path: Path, title: str) -> tuple[str | None, str | None]:
    if title == UNRELEASED:
        return None, None
    if not (matched := TITLE.fullmatch(title)):
        raise ReleaseError(
            f"{path} has the heading {title!r}; allowed are '{UNRELEASED}', '0.1.0 (unreleased)' and '0.1.0 (2026-01-31)'"
        )
    day = matched["date"]
    return matched["version"], None if day == "unreleased" else day
