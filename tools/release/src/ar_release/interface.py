"""Whether a version number says what changed: incompatible changes since the last release ask for a bump that callers understand."""

from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from .errors import ReleaseError
from .inventory import Changes, compare_interfaces, package_at, public_names
from .levels import asked_level, bumped
from .package import Package
from .tags import last_tag

__all__ = ["IncompatibleError", "Since", "changes_since", "check_interface"]


class IncompatibleError(ReleaseError):
    """Incompatible changes that the version does not tell."""

    def __init__(self, message: str, broken: tuple[str, ...]) -> None:
        super().__init__(message)
        self.broken = broken


@dataclass(frozen=True)
class Since:
    """What changed since a reference, and the lowest version that it asks for."""

    reference: str
    """The tag or commit that was compared with."""
    version: str
    """At the reference."""
    changes: Changes
    """What is different."""
    level: str
    """The level of these changes: ``major``, ``minor`` or ``patch``."""
    asked: str
    """The lowest version with this level."""


def changes_since(package: Package, reference: str, scratch: Path) -> Since | None:
    """Compare a package with its state at a reference; None where there was none."""
    old = package_at(package, reference, scratch)
    if old is None:
        return None
    changes = compare_interfaces(old, package)
    level = asked_level(old.version, changes.broken, changes.added)
    return Since(reference, old.version, changes, level, bumped(old.version, level))


def check_interface(package: Package, scratch: Path, against: str | None = None) -> str:
    """Hold the version against what changed since a reference, by default the tag of the release before.

    Raises :class:`IncompatibleError` with the list of incompatible changes if the version is below what they ask for.
    """
    reference = against or last_tag(package, before=package.version)
    since = changes_since(package, reference, scratch) if reference else None
    if since is None:
        place = f"no {package.name} at {reference}" if reference else "no earlier release to compare with"
        return f"{len(public_names(package))} public names; {place}"
    broken, added = since.changes.broken, since.changes.added
    if broken and Version(package.version) < Version(since.asked):
        raise IncompatibleError(
            f"{len(broken)} incompatible changes of {package.name} since {since.reference} ask for version {since.asked} or higher, and it "
            f"has {package.version}; run `release bump {package.name} {since.level}`, or take the changes back",
            broken,
        )
    return f"{len(broken)} incompatible changes and {len(added)} additions since {since.reference}"
