"""Programs that releases are made with: git and uv, called as a person would."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import ReleaseError

__all__ = ["clean_environment", "git", "require_commit", "run", "uv"]

SHOWN = 1500
"""Characters of a failed program's output that a message ends with."""


def clean_environment(**more: str) -> dict[str, str]:
    """The variables of this process without those through which a checkout or an environment would be seen."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME"}
    return {key: value for key, value in os.environ.items() if key not in hidden} | more


def run(command: Sequence[str | Path], *, cwd: Path, seconds: float | None = None) -> str:
    """What a command writes on standard output; :class:`ReleaseError` with the end of its output if it fails or takes too long."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError as error:
        raise ReleaseError(f"{words[0]} is not installed; install it and try again") from error
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"`{' '.join(words)}` took more than {seconds:.0f} s and was ended") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-SHOWN:]
        raise ReleaseError(f"`{' '.join(words)}` ended with exit code {done.returncode}: {said}")
    return done.stdout


def git(root: Path, *arguments: str) -> str:
    """What git writes, without the last line's end."""
    return run(["git", *arguments], cwd=root).rstrip("\n")


def require_commit(root: Path, reference: str) -> None:
    """Raise :class:`ReleaseError` unless a reference of git names a commit that is here."""
    try:
        git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    except ReleaseError as error:
        raise ReleaseError(
            f"{reference!r} names no commit of this checkout; give a branch, a tag or a commit that has been fetched"
        ) from error


def uv(cwd: Path, *arguments: str | Path) -> str:
    """What uv writes."""
    return run([os.environ.get("UV", "uv"), *arguments], cwd=cwd)
