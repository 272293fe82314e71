"""``ar-train ls``, ``cat`` and ``cp``."""

from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_line import terminal
from ar_core.command_result import CommandResult
from ar_core.errors import ConfigError

from ..arguments import NameArgument

__all__ = ["CAT_EXAMPLES", "CAT_FIELDS", "CP_EXAMPLES", "CP_FIELDS", "LS_EXAMPLES", "LS_FIELDS", "cat", "cp", "ls"]

LS_EXAMPLES = ("ar-train ls", "ar-train ls --json")
"""Calls that the help shows."""
LS_FIELDS = {
    "recipes": "a list: name, summary, makes (model or data), configs (a list of name and summary)",
    "converters, exporters": "lists of name and summary: what `convert` and `export` take",
}
"""Of the JSON document, with what they mean."""
CAT_EXAMPLES = ("ar-train cat fast_dllm_v2", "ar-train cat fast_dllm_v2/tiny")
"""Calls that the help shows."""
CAT_FIELDS = {"file": "where it is installed", "text": "what it says"}
"""Of the JSON document, with what they mean."""
CP_EXAMPLES = ("ar-train cp fast_dllm_v2/tiny mine.yaml", "ar-train cp fast_dllm_v2 mine.py")
"""Calls that the help shows."""
CP_FIELDS = {"source, file": "from where to where it was copied"}
"""Of the JSON document, with what they mean."""


def ls() -> CommandResult:
    """List all recipes and configs of all installed packages."""
    from ..listing import as_data, lines, lines_as_text

    found = list(lines())
    if not found:
        return CommandResult("no installed package has a recipe; install one, such as dlm-text", as_data())
    if terminal().is_terminal:
        return CommandResult("", as_data(), renderable=lines_as_text(found))
    width = max(len(name) for name, _ in found)
    return CommandResult("\n".join(f"{name:{width}}  {said}" for name, said in found), as_data())


def cat(reference: NameArgument) -> CommandResult:
    """Print a recipe, or one of its configs."""
    from ..reference import named_file

    file = named_file(reference)
    text = file.read_text(encoding="utf-8")
    return CommandResult(text.removesuffix("\n"), {"file": file, "text": text})


def cp(
    reference: NameArgument,
    destination: Annotated[Path, typer.Argument(help="A file, or a folder that exists.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
) -> CommandResult:
    """Copy a recipe, or one of its configs, to edit it."""
    from ..reference import named_file

    source = named_file(reference)
    target = destination / source.name if destination.is_dir() else destination
    if target.exists() and not force:
        raise ConfigError(f"{str(target)!r} exists; give another destination or --force")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    except OSError as error:
        raise ConfigError(f"{str(target)!r} cannot be written ({error.strerror}); give another destination") from error
    return CommandResult("", {"source": source, "file": target}, notes=[f"copied to {target}"])
