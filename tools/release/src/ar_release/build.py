"""Wheel and source archive of a package, built from the checkout or from a tag."""

import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import ReleaseError
from .package import Package, read_package
from .run import git, uv

__all__ = ["Built", "build", "build_at_tag", "build_wheel", "compare_wheels", "sdist_files", "wheel_files"]


@dataclass(frozen=True)
class Built:
    """What is published of one version."""

    wheel: Path
    """The file ``*.whl``."""
    sdist: Path
    """The source archive, ``*.tar.gz``."""


def build(package: Package, out: Path) -> Built:
    """Build the source archive from the checkout, and the wheel from that archive."""
    uv(package.root, "build", package.folder, "--quiet", "--out-dir", out)
    return Built(_only(out, "*.whl"), _only(out, "*.tar.gz"))


def build_wheel(package: Package, out: Path) -> Path:
    """Build the wheel straight from the checkout."""
    uv(package.root, "build", package.folder, "--quiet", "--wheel", "--out-dir", out)
    return _only(out, f"{package.module}-{package.version}-*.whl")


def build_at_tag(package: Package, tag: str, out: Path, scratch: Path) -> Path:
    """Build the wheel of a released version from its tag."""
    archive = scratch / "tag.tar"
    git(package.root, "archive", f"--output={archive}", tag, package.relative)
    with tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
    return build_wheel(read_package(scratch, scratch / package.relative), out)


def compare_wheels(package: Package, built: Built, scratch: Path) -> str:
    """Build the wheel from the checkout as well, and hold its files and their contents against the one from the archive."""
    from_archive, from_tree = wheel_files(built.wheel), wheel_files(build_wheel(package, scratch))
    differing = sorted(
        name for name in from_archive.keys() | from_tree.keys() if from_archive.get(name) != from_tree.get(name)
    )
    # RECORD lists the hashes of all others, and so differs with them.
    differing = [name for name in differing if not name.endswith(".dist-info/RECORD")] or differing
    if differing:
        raise ReleaseError(
            f"the wheels of {package.name} from its source archive and from the checkout differ in "
            f"{', '.join(differing[:5])}{' and others' if len(differing) > 5 else ''}; the archive has to hold what the wheel is made of"
        )
    return f"{len(from_tree)} files alike"


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Contents by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def sdist_files(sdist: Path) -> dict[str, int]:
    """Sizes in bytes by name below the archive's one folder."""
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(one.name).parts[1:])): one.size for one in archive if one.isfile()}


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ReleaseError(
            f"building left {len(found)} files {pattern} in {folder} instead of one; give an empty folder"
        )
    return found[0]
