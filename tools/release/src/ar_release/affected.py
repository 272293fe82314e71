"""Which members a change concerns: those whose files changed, those whose code or tests need one of them, and those whose tests read it."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from .run import git, require_commit
from .workspace import Workspace

__all__ = ["Affected", "affected_by", "affected_since"]

SHARED = ("pyproject.toml", "uv.lock", "conftest.py", "packages/conftest.py")
"""Files that every package's tests depend on."""
SHARED_FOLDERS = (".github/", ".ci/")


@dataclass(frozen=True)
class Affected:
    """What continuous integration has to look at beside the tests across packages, which read everything."""

    members: tuple[str, ...]
    """Folders with tests, such as ``packages/ar-core``."""
    packages: tuple[str, ...]
    """Names of those among them that are released."""


def affected_since(workspace: Workspace, base: str) -> Affected:
    """What the commits since a base, such as ``origin/main``, concern."""
    require_commit(workspace.root, base)
    return affected_by(workspace, git(workspace.root, "diff", "--name-only", f"{base}...HEAD").splitlines())


def affected_by(workspace: Workspace, files: list[str]) -> Affected:
    """What a change of these files concerns.

    A file of no member, such as a page, concerns the members whose tests name it.
    """
    if any(file in SHARED or file.startswith(SHARED_FOLDERS) for file in files):
        names = {one.name for one in workspace.members}
    else:
        owners = {
            file: [one.name for one in workspace.members if file.startswith(f"{one.relative}/")] for file in files
        }
        names = workspace.dependents({name for found in owners.values() for name in found})
        ownerless = {PurePosixPath(file) for file, found in owners.items() if not found}
        named = {path.name for path in ownerless} | {path.stem for path in ownerless if path.suffix == ".py"}
        names |= {name for name, words in workspace.test_words.items() if words & named}
    found = [one for one in workspace.members if one.name in names]
    return Affected(
        members=tuple(one.relative for one in found if (one.folder / "tests").is_dir()),
        packages=tuple(one.name for one in found if not one.private),
    )
