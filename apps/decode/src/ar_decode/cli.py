"""The command line ``ar-decode``. Imports torch only inside the commands."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from ar_core.errors import ArError
from ar_core.registry import commands as announced
from ar_core.registry import require_home
from typer.core import TyperCommand, TyperGroup

from .commands import bench, evaluate, text, trace, tune, verify
from .commands.announced import AnnouncedCommand, announced_command

__all__ = ["app", "main"]


class Commands(TyperGroup):
    """Subcommands by name; one whose package is known and absent is answered with what to install."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the subcommand, None if there is none.

        Raises:
            MissingPackageError: names the package.
        """
        found = super().get_command(ctx, cmd_name)
        if found is None:
            require_home("command", cmd_name)
        return found


app = typer.Typer(
    cls=Commands,
    help="Decode: a checkpoint and prompts in; text and statistics out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _add(
    command: Callable[..., None],
    examples: Sequence[str],
    name: str | None = None,
    summary: str | None = None,
    kind: type[TyperCommand] | None = None,
) -> None:
    app.command(name, cls=kind, help=summary, epilog="\n\n".join(["[bold]Examples[/bold]", *examples]))(command)


_add(text.text, text.EXAMPLES)
_add(bench.bench, bench.EXAMPLES)
_add(evaluate.evaluate, evaluate.EXAMPLES, "eval")
_add(tune.tune, tune.EXAMPLES)
_add(trace.trace, trace.EXAMPLES)
_add(verify.verify, verify.EXAMPLES)


for _record in announced().values():
    _add(announced_command(_record), _record.examples, _record.name, f"{_record.summary}.", AnnouncedCommand)


def main() -> None:
    """Run the command line; input that cannot be used is one sentence and exit code 2."""
    # transformers imports torchao where it is installed, which warns about its own build.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        app()
    except ArError as error:
        parts = [str(error), *getattr(error, "__notes__", ())]
        said = "; ".join(part.removesuffix(".") for part in parts)
        typer.echo(f"error: {said}{'' if said.endswith('?') else '.'}", err=True)
        sys.exit(2)
