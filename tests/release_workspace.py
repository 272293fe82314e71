"""A workspace of two tiny packages under git, with everything that a release needs and nothing that has to be fetched."""

import os
import subprocess
from pathlib import Path

__all__ = ["commit", "write_workspace"]

UV = os.environ.get("UV", "uv")
PROJECT = """
[project]
name = "{name}"
version = "0.1.0"
description = "A package of a test."
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
classifiers = [
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Typing :: Typed",
]
{more}

[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

[tool.hatch.build.targets.sdist]
only-include = ["src", "CHANGELOG.md"]
"""
CORE = '''"""Core of a test."""

__all__ = ["kept", "scale"]

__version__ = "0.1.0"


def scale(value: float, factor: float = 2.0) -> float:
    """Multiply."""
    return value * factor


def kept() -> int:
    """One."""
    return 1
'''
APP = '''"""Application of a test."""

from demo_core import scale

__version__ = "0.1.0"


def main() -> None:
    """Say how it is used."""
    print("Usage: demo-app", scale(1))
'''
WITH_EXTRA = '''"""Needs the extra."""

from importlib.util import find_spec


class MissingPackageError(Exception):
    """A package is not there."""


if find_spec("demo_core.more") is None:
    raise MissingPackageError("demo_app.drawing needs more: pip install 'demo-app[draw]'.")
'''
LICENCE = "A licence.\n"


def write_workspace(root: Path) -> None:
    """Write, lock and commit ``demo-core`` and ``demo-app``, which needs it."""
    members = 'members = ["packages/*"]'
    (root / "pyproject.toml").parent.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\n\n'
        f"[tool.uv]\npackage = false\n\n[tool.uv.workspace]\n{members}\n\n"
        "[tool.uv.sources]\ndemo-core = { workspace = true }\n"
    )
    (root / "LICENSE").write_text(LICENCE)
    (root / ".gitignore").write_text("__pycache__/\n.venv/\n")
    _package(root, "demo-core", CORE, "dependencies = []")
    app = (
        'dependencies = ["demo-core>=0.1.0"]\n\n[project.optional-dependencies]\ndraw = ["demo-core>=0.2.0"]\n\n'
        '[project.scripts]\ndemo-app = "demo_app:main"'
    )
    _package(root, "demo-app", APP, app)
    (root / "packages/demo-app/src/demo_app/drawing.py").write_text(WITH_EXTRA)
    jobs = root / "tools/release/jobs"
    jobs.mkdir(parents=True)
    (jobs / "demo_core.py").write_text("from demo_core import scale\nprint(scale(3))\n")
    (jobs / "demo_app.py").write_text("import demo_core\nprint('on demo-core', demo_core.__version__)\n")
    subprocess.run([UV, "lock", "--offline", "-q"], cwd=root, check=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    for key, value in (("user.name", "A test"), ("user.email", "test@example.org")):
        subprocess.run(["git", "config", key, value], cwd=root, check=True)
    commit(root)


def commit(root: Path) -> None:
    """Commit everything."""
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "As it is"], cwd=root, check=True)


def _package(root: Path, name: str, code: str, more: str) -> None:
    module = name.replace("-", "_")
    folder = root / "packages" / name
    source = folder / "src" / module
    source.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, module=module, more=more).lstrip())
    (folder / "README.md").write_text(f"# {name}\n\nA package of a test.\n")
    (folder / "CHANGELOG.md").write_text(f"# Changelog of {name}\n\n## 0.1.0 (unreleased)\n\n- First.\n")
    (folder / "LICENSE").write_text(LICENCE)
    (source / "__init__.py").write_text(code)
    (source / "py.typed").write_text("")
