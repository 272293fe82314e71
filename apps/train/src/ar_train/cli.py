"""The command line ``ar-train``. Imports torch only inside the commands that train."""

import typer
from ar_core.command_line import Commands, add_command, run_program

from .commands import checkpoints, listing, planning, plot, training

__all__ = ["app", "main"]

EPILOG = (
    "Every command takes --json (one JSON document on standard output, its fields in the command's --help), --quiet, and --help with "
    "examples. `ar-train --install-completion` completes recipes, configs and their entries."
)

app = typer.Typer(
    cls=Commands,
    help="Train: a config in, a run out.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
"""The command `ar-train`."""

add_command(app, listing.ls, examples=listing.LS_EXAMPLES, fields=listing.LS_FIELDS)
add_command(app, listing.cat, examples=listing.CAT_EXAMPLES, fields=listing.CAT_FIELDS)
add_command(app, listing.cp, examples=listing.CP_EXAMPLES, fields=listing.CP_FIELDS)
add_command(app, planning.validate, examples=planning.VALIDATE_EXAMPLES, fields=planning.VALIDATE_FIELDS)
add_command(app, planning.plan, examples=planning.PLAN_EXAMPLES, fields=planning.PLAN_FIELDS)
add_command(app, training.run, examples=training.RUN_EXAMPLES, fields=training.FIELDS, tells=True)
add_command(app, training.fit, examples=training.FIT_EXAMPLES, fields=training.FIELDS, tells=True)
add_command(app, plot.plot, examples=plot.EXAMPLES, fields=plot.FIELDS)
add_command(app, checkpoints.convert, examples=checkpoints.CONVERT_EXAMPLES, fields=checkpoints.CONVERT_FIELDS)
add_command(app, checkpoints.export, examples=checkpoints.EXPORT_EXAMPLES, fields=checkpoints.EXPORT_FIELDS)
add_command(
    app,
    checkpoints.verify_export,
    examples=checkpoints.VERIFY_EXAMPLES,
    fields=checkpoints.VERIFY_FIELDS,
    name="verify-export",
)


def main() -> None:
    """Run the command line; input that cannot be used is one sentence and exit code 2."""
    run_program(app, "ar-train")
