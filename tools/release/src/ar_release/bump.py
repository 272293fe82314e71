"""A new version of one package, in the four files that tell it: nothing else changes."""

import re
from datetime import date
from pathlib import Path

from .changelog import read_changelog, release_unreleased
from .errors import ReleaseError
from .levels import LEVELS, bumped
from .package import Package
from .tags import last_tag
from .versions import VERSION_LINE

__all__ = ["FIRST", "bump"]

FIRST = "first"
"""The level of a first release: the version stays, the changelog gets its day."""


def bump(package: Package, level: str, day: date) -> tuple[str, list[Path]]:
    """Raise the version of a package by ``patch``, ``minor`` or ``major``, and put what is unreleased in its changelog under it.

    Returns the version and the files that changed. All files are read before the first is written.
    """
    if level == FIRST:
        if tag := last_tag(package):
            raise ReleaseError(f"{package.name} has a release already ({tag}); allowed are {', '.join(LEVELS)}")
        version = package.version
    elif level in LEVELS:
        version = bumped(package.version, level)
    else:
        raise ReleaseError(f"the level is {level!r}; allowed are {', '.join(LEVELS)} and {FIRST}")
    changelog = package.folder / "CHANGELOG.md"
    read_changelog(changelog)
    changed = [] if version == package.version else _rewritten(package, version)
    release_unreleased(changelog, version, day)
    for path, text in changed:
        path.write_text(text, encoding="utf-8")
    return version, [*(path for path, _ in changed), changelog]


def _rewritten(package: Package, version: str) -> list[tuple[Path, str]]:
    own = re.escape(package.version)
    places = (
        (
            package.folder / "pyproject.toml",
            re.compile(rf'^version = "{own}"$', re.MULTILINE),
            f'version = "{version}"',
        ),
        (package.source / "__init__.py", VERSION_LINE, f'__version__ = "{version}"'),
        (
            package.root / "uv.lock",
            re.compile(rf'(?<=^name = "{re.escape(package.name)}"\n)version = "{own}"$', re.MULTILINE),
            f'version = "{version}"',
        ),
    )
    return [(path, _replaced_once(path, pattern, text)) for path, pattern, text in places]


def _replaced_once(path: Path, pattern: re.Pattern[str], text: str) -> str:
    written, count = pattern.subn(text, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ReleaseError(f"{path} has {count} lines that tell the version, and has to have one; mend it, then bump")
    return written
