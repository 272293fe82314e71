"""Whether a package works where it is installed alone: every module, every command, and one tiny job."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment
from .errors import ReleaseError
from .package import Package

__all__ = ["Imports", "check_imports", "check_scripts", "run_job"]

PRELOADED = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    "lightning.pytorch",
    "datasets",
)
"""What takes longest to import of what packages need."""
ASKED = re.compile(r"""pip install ['"]?([A-Za-z0-9-]+)(?:\[([A-Za-z0-9,-]+)\])?['"]?""")
IMPORTS = Path(__file__).with_name("imports.py")
JOBS = "tools/release/jobs"
"""Folder of the tiny jobs, below the root of the workspace."""


@dataclass(frozen=True)
class Imports:
    """What importing the modules of a package came to."""

    count: int
    """Modules that were imported."""
    refused: tuple[str, ...]
    """Modules that ask for something to install."""

    def __str__(self) -> str:
        return f"{self.count} modules" + (f", {len(self.refused)} ask for more" if self.refused else "")


def check_imports(
    package: Package, environment: Environment, extras: Collection[str] = (), *, apart: Collection[str] | None = None
) -> Imports:
    """Import every public module: those named by `apart`, or all, in a process each, the others one after the other.

    A module may refuse with one sentence that names what to install, unless that is one of `extras`, which are installed; everything else
    that is raised is a fault.
    """
    chosen = "all" if apart is None else ",".join(apart) or "none"
    written = environment.run("python", "-I", IMPORTS, package.module, chosen, *PRELOADED)
    said: dict[str, str | None] = json.loads(written.splitlines()[-1])
    refused = {module: message for module, message in said.items() if message}
    for module, message in refused.items():
        asked = ASKED.search(message)
        if not message.startswith("MissingPackageError: ") or asked is None or "\n" in message:
            raise ReleaseError(f"importing {module} of {package.name} alone fails: {message[:600]}")
        if asked[1] == package.name and asked[2] in extras:
            raise ReleaseError(f"{module} asks for {package.name}[{asked[2]}], which is installed: {message[:600]}")
    return Imports(len(said) - len(refused), tuple(refused))


def check_scripts(package: Package, environment: Environment) -> str:
    """Ask every console script for its help."""
    for script in package.scripts:
        if "Usage" not in environment.run(script, "--help"):
            raise ReleaseError(f"`{script} --help` of {package.name} shows no usage")
    return ", ".join(package.scripts) or "none"


def run_job(package: Package, environment: Environment) -> str:
    """Run the tiny job of a package, a script that is named after it; returns what it says last."""
    script = package.root / JOBS / f"{package.module}.py"
    if not script.is_file():
        raise ReleaseError(
            f"{package.name} has no tiny job; write {JOBS}/{package.module}.py, which raises if something is wrong"
        )
    return environment.run("python", "-I", script).strip().splitlines()[-1]
