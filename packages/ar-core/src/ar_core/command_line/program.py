"""A program from its arguments to its exit code."""

import logging
import sys
from typing import Any, NoReturn

import typer

from ..errors import ArError

__all__ = ["run_program"]

USAGE_ERROR: Any = typer.BadParameter.__base__
"""What is raised for options and arguments that are unknown, missing or of the wrong kind."""


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Run a command line and exit; what cannot be used is one sentence on standard error and exit code 2.

    Args:
        app: the program.
        name: of the program, for its help.
    """
    # transformers imports torchao where it is installed, which warns about its own build.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        code = app(standalone_mode=False, prog_name=name)
    except ArError as error:
        refuse("; ".join(_ending_cut(part) for part in (str(error), *getattr(error, "__notes__", ()))))
    except USAGE_ERROR as error:
        context = error.ctx
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            sys.exit(2)
        hint = f"see `{context.command_path} --help`" if context is not None else "see --help"
        refuse(f"{_ending_cut(' '.join(error.format_message().split()))}; {hint}")
    except typer.Abort:
        typer.echo("stopped", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def refuse(sentence: str) -> NoReturn:
    """Print what is wrong and exit with 2."""
    typer.echo(f"error: {sentence}{'' if sentence.endswith('?') else '.'}", err=True)
    sys.exit(2)


def _ending_cut(part: str) -> str:
    return part.strip().removesuffix(".")
