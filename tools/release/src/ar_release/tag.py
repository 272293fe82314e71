"""The tag of a package at its version, made where everything that the release needs is there."""

from .changelog import read_changelog
from .errors import ReleaseError
from .package import Package
from .run import git
from .tags import parse_tag, released_versions, tag_name
from .versions import check_version

__all__ = ["make_tag", "notes"]


def notes(package: Package) -> str:
    """The changelog's section of a package's version."""
    for section in read_changelog(package.folder / "CHANGELOG.md"):
        if section.version == package.version:
            return section.text
    raise ReleaseError(f"the changelog of {package.name} has no section of {package.version}; bump the version")


def make_tag(package: Package) -> str:
    """Make an annotated tag at the current commit, with the changelog's section as its message; returns its name."""
    name = tag_name(package)
    if tag := released_versions(package.root, package.name).get(package.version):
        raise ReleaseError(f"{package.name} {package.version} is tagged already ({tag}); bump the version")
    if changed := git(package.root, "status", "--porcelain", "--", package.relative):
        raise ReleaseError(f"{changed.splitlines()[0][3:]} differs from the commit; commit it, then tag")
    check_version(package, parse_tag(name))
    git(package.root, "tag", "--annotate", name, "--cleanup=verbatim", "--message", f"{name}\n\n{notes(package)}")
    return name
