"""What the command lines of all benchmarks share: help, options, and one sentence for what users can do wrong."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ar_core.errors import ArError

__all__ = ["RESULTS", "add_entries", "command_line", "exit_code"]

RESULTS = Path(__file__).parent / "results"
"""Where the numbers of tables and figures are kept."""


def command_line(program: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring, line by line.

    Args:
        program: what comes behind ``python -m``.
        doc: the docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {program}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_entries(command: argparse.ArgumentParser, name: str, what: str) -> None:
    """Add an option of entries of a config, which may be given several times.

    Args:
        command: gets it.
        name: of the option.
        what: they are entries of.
    """
    command.add_argument(name, action="extend", nargs="+", default=[], metavar="key=value", help=f"entries of {what}")


def exit_code(
    run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace, *, interrupted: str | None = None
) -> int:
    """Run a command; 2, and the sentence on the error stream, if it was asked for something that cannot be.

    Args:
        run: gives the exit code.
        arguments: of the command.
        interrupted: what Ctrl-C says, with the exit code 130; None lets it pass.
    """
    try:
        return run(arguments)
    except ArError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return 130
