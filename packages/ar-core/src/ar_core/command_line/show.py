"""A result for people."""

from typing import Any

import typer
from rich.table import Table

from ..command_result import CommandResult, ResultTable
from ..quiet import is_quiet
from .console import terminal
from .half_blocks import labelled

__all__ = ["show", "show_notes"]


def show(result: Any) -> None:
    """Show what a command did.

    Text goes to standard output as it is; on a terminal a table stands in the place of its lines, and pictures are drawn below
    it. Notes go to standard error; see :func:`show_notes`.

    Args:
        result: a :class:`CommandResult`, or text.
    """
    if not isinstance(result, CommandResult):
        typer.echo(result)
        return
    out = terminal()
    if result.renderable is not None:
        out.print(result.renderable)
        if result:
            typer.echo(result)
    elif result.table is not None and out.is_terminal:
        out.print(_rich(result.table))
        typer.echo(result.sentence)
    elif result or not result.notes:
        # An empty line ends what was printed as it came.
        typer.echo(result)
    # Without colours all pictures look alike.
    if result.pictures is not None and out.is_terminal and not out.no_color and not is_quiet():
        out.print(labelled(result.pictures, out.width))
    show_notes(result)


def show_notes(result: Any) -> None:
    """Show the notes of a result on standard error, unless the program was asked to be quiet."""
    if isinstance(result, CommandResult) and not is_quiet():
        aside = terminal(stderr=True)
        for note in result.notes:
            aside.print(note, soft_wrap=isinstance(note, str))


def _rich(table: ResultTable) -> Table:
    shown = Table()
    for number, heading in enumerate(table.columns):
        shown.add_column(heading, justify="left" if number == 0 else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown
