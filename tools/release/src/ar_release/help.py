"""What the help of each command ends with: examples, and the fields of the document that ``--json`` writes."""

from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["EXAMPLES", "FIELDS", "Documented"]

EXAMPLES = {
    "check": (
        "release check ar-core",
        "release check --all --no-install",
        "release check dvlm --python 3.13 --newest --out dist",
        "release check --tag ar-core-v0.2.0",
    ),
    "bump": ("release bump ar-core minor", "release bump dvlm first --date 2026-12-24"),
    "tag": ("release tag ar-core", "release tag ar-core --make"),
    "notes": ("release notes ar-core", "release notes --tag ar-core-v0.2.0"),
    "plan": ("release plan", "release plan --json"),
    "affected": ("release affected origin/main", "release affected HEAD~1 --json"),
}
"""Calls of each command."""

FIELDS = {
    "check": {
        "package": "a list with one entry for each step: the package",
        "step": "the step",
        "state": "passed, failed or skipped",
        "note": "what was found, or why it failed",
        "seconds": "what the step took",
        "broken": "incompatible changes that the version does not tell",
    },
    "bump": {
        "package": "its name",
        "version": "the new version",
        "files": "paths below the root of the workspace",
    },
    "tag": {"tag": "of the package's version", "made": "whether it was made now"},
    "notes": {"package": "its name", "version": "of the section", "notes": "the section"},
    "plan": {
        "name": "a list with one entry for each package: its name",
        "version": "of its pyproject.toml",
        "last": "tag of the last release, or null",
        "commits": "that touched its folder since",
        "waits_for": "siblings at versions that are not released yet",
        "broken": "incompatible changes since",
        "added": "new names since",
        "asks": "patch, minor or major; first; tag, if the version is raised already; or nothing",
    },
    "affected": {"members": "folders with tests", "packages": "names of those that are released"},
}
"""Of each command's document, with what they mean."""


class Documented(TyperCommand):
    """A command whose help ends with its examples and fields."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, and below it both."""
        super().format_help(ctx, formatter)
        assert self.name is not None
        fields = FIELDS[self.name]
        width = max(map(len, fields))
        typer.echo("Fields of --json")
        for name, meaning in fields.items():
            typer.echo(f"  {name:{width}}  {meaning}")
        typer.echo("Examples")
        for example in EXAMPLES[self.name]:
            typer.echo(f"  {example}")
