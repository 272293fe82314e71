"""What has changed in each package since its last release, and the version that it asks for."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.version import Version

from .interface import changes_since
from .package import Package
from .run import git
from .siblings import lowest_siblings
from .tags import last_tag, released_versions
from .workspace import Workspace

__all__ = ["Planned", "plan"]


@dataclass(frozen=True)
class Planned:
    """What one package's next release would be."""

    name: str
    """Of the package."""
    version: str
    """Of its pyproject.toml."""
    last: str | None
    """Tag of the last release."""
    commits: int
    """That touched its folder since."""
    waits_for: tuple[str, ...]
    """Siblings at versions that are not released yet."""
    broken: tuple[str, ...] = ()
    """Incompatible changes since the last release."""
    added: tuple[str, ...] = ()
    """New names since."""
    asks: str = "nothing"
    """A level, ``first``, ``tag`` (the version is raised already) or ``nothing``."""


def plan(workspace: Workspace) -> list[Planned]:
    """One record a package, in the order in which they can be released."""
    with TemporaryDirectory() as scratch:
        return [_planned(workspace, package, Path(scratch)) for package in workspace.packages]


def _planned(workspace: Workspace, package: Package, scratch: Path) -> Planned:
    last = last_tag(package)
    commits = git(workspace.root, "rev-list", "--count", f"{last}..HEAD" if last else "HEAD", "--", package.relative)
    waits = tuple(
        f"{name} {version}"
        for name, version in lowest_siblings(workspace, package, package.extras).items()
        if version not in released_versions(workspace.root, name)
    )
    planned = Planned(package.name, package.version, last, int(commits), waits)
    if last is None:
        return replace(planned, asks="first")
    folder = scratch / package.name
    folder.mkdir()
    since = changes_since(package, last, folder)
    if since is None or not planned.commits:
        return planned
    asks = "tag" if Version(package.version) >= Version(since.asked) else since.level
    return replace(planned, broken=since.changes.broken, added=since.changes.added, asks=asks)
