"""The command line ``ar-decode``. Imports torch only inside the commands."""

from typing import Any

import typer
from ar_core.command_line import Commands, add_command, run_program
from ar_core.registry import commands as announced
from ar_core.registry import require_home

from .commands import bench, evaluate, text, trace, tune, verify
from .commands.announced import announced_command

__all__ = ["app", "main"]

EPILOG = (
    "Every command takes --json (one JSON document on standard output, its fields in the command's --help), --quiet, and --help with "
    "examples. `ar-decode --install-completion` completes commands, methods, evaluations and settings."
)


class DecodeCommands(Commands):
    """Subcommands by name; one whose package is known and absent is answered with what to install."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names; raises as `Commands` does, and names an absent package."""
        if args and args[0] not in self.commands and not ctx.resilient_parsing:
            require_home("command", args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=DecodeCommands,
    help="Decode: a checkpoint and prompts in; text, images and statistics out.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
"""The command `ar-decode`."""

add_command(app, text.text, examples=text.EXAMPLES, fields=text.FIELDS)
add_command(app, bench.bench, examples=bench.EXAMPLES, fields=bench.FIELDS)
add_command(app, evaluate.evaluate, examples=evaluate.EXAMPLES, fields=evaluate.FIELDS, name="eval")
add_command(app, tune.tune, examples=tune.EXAMPLES, fields=tune.FIELDS)
add_command(app, trace.trace, examples=trace.EXAMPLES, fields=trace.FIELDS)
add_command(app, verify.verify, examples=verify.EXAMPLES, fields=verify.FIELDS)

for _record in announced().values():
    add_command(
        app,
        announced_command(_record),
        examples=_record.examples,
        fields=_record.fields,
        name=_record.name,
        summary=f"{_record.summary}.",
        settings=_record.options,
    )


def main() -> None:
    """Run the command line; input that cannot be used is one sentence and exit code 2."""
    run_program(app, "ar-decode")
