"""Which versions of its siblings a package asks for, and their wheels at the lowest of these."""

from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .build import build_at_tag, build_wheel
from .errors import ReleaseError
from .package import Package
from .tags import released_versions
from .workspace import Workspace

__all__ = ["check_bounds", "lowest_siblings", "sibling_wheel"]


def check_bounds(workspace: Workspace, package: Package, *, tagged: bool) -> str:
    """Hold every lower bound on a sibling against the versions there are: tagged ones, and unless `tagged` the checkout's."""
    lowest = lowest_siblings(workspace, package, package.extras)
    coming = []
    for name, version in lowest.items():
        released = released_versions(workspace.root, name)
        if version in released:
            continue
        if tagged or version != workspace.package(name).version:
            there = ", ".join(released) or "none"
            raise ReleaseError(
                f"{package.name} needs {name}>={version}, which is not released: released are {there}; release {name} {version} first, "
                f"or ask for a version that is there"
            )
        coming.append(f"{name} {version}")
    bounds = ", ".join(f"{name}>={version}" for name, version in lowest.items())
    return f"to be released before: {', '.join(coming)}" if coming else bounds or "asks for none"


def lowest_siblings(
    workspace: Workspace, package: Package, extras: Iterable[str] = (), beside: Iterable[str] = ()
) -> dict[str, str]:
    """Per sibling that a package needs, at any distance, the lowest version that all bounds of this checkout allow.

    `extras` are those of the package that count; `beside` are requirements of further members: one that the package does not need
    itself is taken at the version that the checkout has.
    """
    todo = [(package, one) for one in _requirements(package, extras)]
    lowest: dict[str, str] = lowest_siblings(workspace, package, extras) if beside else {}
    for requirement in map(Requirement, beside):
        member = workspace.package(requirement.name)
        lowest.setdefault(member.name, member.version)
        todo += [(member, one) for one in _requirements(member, requirement.extras)]
    members = {canonicalize_name(one.name): one for one in workspace.packages}
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        asking, requirement = todo.pop()
        sibling = members.get(canonicalize_name(requirement.name))
        if sibling is None or sibling is package:
            continue
        version = _lower_bound(asking, requirement)
        if sibling.name not in lowest or Version(version) > Version(lowest[sibling.name]):
            lowest[sibling.name] = version
        if (key := (sibling.name, frozenset(requirement.extras))) not in seen:
            seen.add(key)
            todo += [(sibling, one) for one in _requirements(sibling, requirement.extras)]
    return {one.name: lowest[one.name] for one in workspace.packages if one.name in lowest}


def sibling_wheel(workspace: Workspace, name: str, version: str, wheels: Path, scratch: Path) -> Path:
    """The wheel of a version in a folder, put there unless it is: built from its tag, or from the checkout if it has none yet."""
    sibling = workspace.package(name)
    if found := next(wheels.glob(f"{sibling.module}-{version}-*.whl"), None):
        return found
    if tag := released_versions(workspace.root, name).get(version):
        scratch.mkdir(exist_ok=True)
        return build_at_tag(sibling, tag, wheels, scratch)
    if version == sibling.version:
        return build_wheel(sibling, wheels)
    raise ReleaseError(
        f"{name} {version} has no tag and is not the version of this checkout; ask for one that is there"
    )


def _requirements(package: Package, extras: Iterable[str]) -> list[Requirement]:
    optional = package.project.get("optional-dependencies", {})
    groups = [package.project.get("dependencies", ()), *(optional.get(extra, ()) for extra in extras)]
    return [Requirement(line) for group in groups for line in group]


def _lower_bound(package: Package, requirement: Requirement) -> str:
    bounds = [one.version for one in requirement.specifier if one.operator in (">=", "==", "~=")]
    if not bounds:
        raise ReleaseError(
            f"{package.name} needs {requirement.name} of any version; give it a lower bound, such as {requirement.name}>=0.1.0"
        )
    return max(bounds, key=Version)
