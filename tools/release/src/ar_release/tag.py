"""The tag of a package at its version, made where everything that the release needs is there."""

from .changelog import read_changelog
from .errors import ReleaseError
from .package import Package
from .run import git
from .tags import parse_tag, released_versions, tag_name
from .versions import check_version

__all__ = ["make_tag", "notes"]


def notes(package: Package, version: str) -> str:
    """The changelog's section of a version of a package."""
    for section in read_changelog(package.folder / "CHANGELOG.md"):
        if section.version == version:
            return section.text
    raise ReleaseError(
        f"the changelog of {package.name} has no section of {version}; bump to it, or name a version that it has"
    )


def make_tag(package: Package) -> str:
    """Make an annotated tag at the current commit, with the changelog's section as its message; returns its name."""
    name = tag_name(package)
    if tag := released_versions(package.root, package.name).get(package.version):
        raise ReleaseError(f"{package.name} {package.version} is tagged already ({tag}); bump the version")
    if changed := git(package.root, "status", "--porcelain", "--", package.relative, "uv.lock"):
        raise ReleaseError(f"{changed.splitlines()[0][3:]} differs from the commit; commit it, then tag")
    check_version(package, parse_tag(name))
    git(
        package.root,
        "tag",
        "--annotate",
        name,
        "--cleanup=verbatim",
        "--message",
        f"{name}\n\n{notes(package, package.version)}",
    )
    return name
