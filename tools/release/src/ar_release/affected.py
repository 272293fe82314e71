"""Which members a change concerns: those whose files changed, and those whose code or tests need one of them."""

from dataclasses import dataclass

from .run import git
from .workspace import Workspace

__all__ = ["Affected", "affected_by", "affected_since"]

SHARED = ("pyproject.toml", "uv.lock", "conftest.py", "packages/conftest.py")
"""Files that every package's tests depend on."""
SHARED_FOLDERS = (".github/", ".ci/")
DOCS = ("docs/", "mkdocs.yml", "README.md")


@dataclass(frozen=True)
class Affected:
    """What continuous integration has to look at."""

    members: tuple[str, ...]
    """Folders with tests, such as ``packages/ar-core``."""
    packages: tuple[str, ...]
    """Names of those among them that are released."""
    workspace: bool
    """Whether tests across packages (``tests/``) are concerned: everything but pages is."""
    docs: bool
    """Whether the site is concerned: pages, and docstrings of any package."""


def affected_since(workspace: Workspace, base: str) -> Affected:
    """What the commits since a base, such as ``origin/main``, concern."""
    return affected_by(workspace, git(workspace.root, "diff", "--name-only", f"{base}...HEAD").splitlines())


def affected_by(workspace: Workspace, files: list[str]) -> Affected:
    """What a change of these files concerns."""
    if any(file in SHARED or file.startswith(SHARED_FOLDERS) for file in files):
        names = {one.name for one in workspace.members}
    else:
        touched = {one.name for one in workspace.members if any(file.startswith(f"{one.relative}/") for file in files)}
        names = workspace.dependents(touched)
    found = [one for one in workspace.members if one.name in names]
    return Affected(
        members=tuple(one.relative for one in found if (one.folder / "tests").is_dir()),
        packages=tuple(one.name for one in found if not one.private),
        workspace=bool(names) or any(not file.startswith(DOCS) for file in files),
        docs=bool(names) or any(file.startswith(DOCS) for file in files),
    )
