"""Subcommands that other packages announce: settings in as ``key=value``, one line out."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from ar_core.registry import Command
from ar_core.registry import commands as announced
from typer.core import TyperCommand

__all__ = ["AnnouncedCommand", "announced_command"]


class AnnouncedCommand(TyperCommand):
    """A subcommand whose help ends with its settings, read from the source of its options: nothing heavy is imported."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, then a table of settings for the command and for each part of it."""
        from ar_core.config import described
        from rich.console import Console
        from rich.panel import Panel
        from rich.table import Table

        super().format_help(ctx, formatter)
        console = Console(highlight=False, markup=False)
        for section in described(announced()[str(self.name)].options):
            table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            for width in ({"no_wrap": True, "style": "bold cyan"}, {"max_width": 28, "style": "yellow"}, {}):
                table.add_column(**width)  # type: ignore[arg-type]
            for one in section.fields:
                kind = f"{one.type}, required" if one.default is None else f"{one.type} = {one.default}"
                table.add_row(one.name, kind, one.doc)
            console.print(Panel(table, title=_title(section.keys), title_align="left", border_style="dim"))


def announced_command(record: Command) -> Callable[..., None]:
    """The function behind the subcommand of a record; what is heavy is imported when it runs."""

    def command(
        settings: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="KEY=VALUE...", help="Settings, listed below; without any, the first one missing is named."
            ),
        ] = None,
    ) -> None:
        from ar_core.config import apply_overrides, from_dict, text_fields
        from ar_core.registry import resolve

        kind = resolve(record.options)
        options = from_dict(kind, apply_overrides({}, settings or [], texts=text_fields(kind)))
        typer.echo(resolve(record.run)(options))

    return command


def _title(keys: tuple[str, ...]) -> str:
    return f"Settings in {', '.join(f'{key}.' for key in keys)}" if keys else "Settings"
