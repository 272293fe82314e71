"""The public interface of a package, read from its source without importing it, and what of it two states do not share."""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

from .errors import ReleaseError
from .package import Package, read_package
from .run import git, require_commit

__all__ = ["Changes", "compare_interfaces", "package_at", "public_names"]


@dataclass(frozen=True)
class Changes:
    """What of the public interface changed since a reference."""

    broken: tuple[str, ...]
    """Removed or changed in a way that callers may notice, one line each."""
    added: tuple[str, ...]
    """Names."""


class _Commands(griffe.Extension):
    """Functions that are commands of a command line are public: their parameters are options."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        if any(
            str(decorator.value).partition("(")[0].endswith((".command", ".callback")) for decorator in func.decorators
        ):
            func.public = True


def package_at(package: Package, reference: str, scratch: Path) -> Package | None:
    """The package as it was at a reference of git, or None where there was none."""
    require_commit(package.root, reference)
    if not git(package.root, "ls-tree", reference, f"{package.relative}/pyproject.toml"):
        return None
    archive = scratch / "reference.tar"
    git(package.root, "archive", f"--output={archive}", reference, package.relative)
    with tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
    return read_package(scratch, scratch / package.relative)


def compare_interfaces(old: Package, new: Package) -> Changes:
    """Hold the interface of a package against that of its older state: code, commands, and what pyproject.toml announces."""
    before, after = _load(old), _load(new)
    broken = [_told(one) for one in griffe.find_breaking_changes(before, after)]
    names_before, names_after = _names(before), _names(after)
    announced_before, announced_after = _announced(old), _announced(new)
    broken += [f"{one}: removed" for one in sorted(announced_before - announced_after)]
    added = sorted((names_after - names_before) | (announced_after - announced_before))
    return Changes(tuple(dict.fromkeys(broken)), tuple(added))


def public_names(package: Package) -> set[str]:
    """Dotted names of everything public in a package."""
    return _names(_load(package))


def _load(package: Package) -> griffe.Module:
    try:
        loaded = griffe.load(
            package.module,
            search_paths=[package.source.parent],
            extensions=griffe.load_extensions(_Commands),
            allow_inspection=False,
        )
    except (ImportError, SyntaxError, griffe.GriffeError) as error:
        raise ReleaseError(f"the source of {package.name} cannot be read ({error})") from error
    assert isinstance(loaded, griffe.Module)
    return loaded


def _names(of: griffe.Module | griffe.Class) -> set[str]:
    found = set()
    for member in of.members.values():
        if member.is_public:
            found.add(member.path)
            if isinstance(member, griffe.Module | griffe.Class):
                found |= _names(member)
    return found


def _announced(package: Package) -> set[str]:
    """What users name that is no Python name: extras, console scripts, entry points, and the configs of recipes."""
    found = {f"extra {name}" for name in package.extras} | {f"command {name}" for name in package.scripts}
    for group, entries in package.project.get("entry-points", {}).items():
        found |= {f"{group}: {name}" for name in entries}
    return found | {f"config {path.relative_to(package.source)}" for path in package.source.rglob("recipes/*.yaml")}


def _told(breakage: griffe.Breakage) -> str:
    shown = breakage.as_dict()
    text = f"{shown['object_path']}: {breakage.kind.value.lower()}"
    if breakage.kind is griffe.BreakageKind.OBJECT_REMOVED:
        return text
    values = [_short(value) for value in (shown["old_value"], shown["new_value"]) if value is not None]
    return f"{text}: {' -> '.join(values)}"


def _short(value: object) -> str:
    if isinstance(value, griffe.Parameter):
        value = value.name if value.default is None else f"{value.name}={value.default}"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
