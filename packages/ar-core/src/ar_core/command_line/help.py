"""The help of a command: options, examples, settings given as ``key=value``, and the fields of its JSON document."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from ..config import described

__all__ = ["CommandWithExamples"]


class CommandWithExamples(TyperCommand):
    """A command whose help ends with what its options cannot say; nothing heavy is imported for it."""

    examples: ClassVar[Sequence[str]] = ()
    """Command lines that show its use."""
    fields: ClassVar[Mapping[str, str]] = {}
    """Of its JSON document, with what they mean."""
    settings: ClassVar[str | None] = None
    """``"module:Class"`` of the dataclass whose fields are its settings; None: it takes none."""

    @classmethod
    def of(
        cls, examples: Sequence[str], fields: Mapping[str, str], settings: str | None = None
    ) -> type["CommandWithExamples"]:
        """Make a kind of command.

        Args:
            examples: command lines.
            fields: of the JSON document, with what they mean.
            settings: ``"module:Class"`` of the dataclass whose fields are settings, read from its source.
        """
        return type(cls.__name__, (cls,), {"examples": examples, "fields": fields, "settings": settings})

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, and below it settings, fields and examples."""
        super().format_help(ctx, formatter)
        console = Console(highlight=False, markup=False)
        for section in described(self.settings) if self.settings is not None else ():
            rows = [
                (one.name, f"{one.type}, required" if one.default is None else f"{one.type} = {one.default}", one.doc)
                for one in section.fields
            ]
            console.print(_panel(_title(section.keys), rows))
        if self.fields:
            console.print(_panel("Fields of --json", list(self.fields.items())))
        if self.examples:
            console.print(Text("Examples", style="bold"))
            for example in self.examples:
                # Command lines are copied: a terminal may break them, we do not.
                console.print(f"  {example}", soft_wrap=True)


def _panel(title: str, rows: Sequence[tuple[str, ...]]) -> Panel:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold cyan")
    for _ in range(len(rows[0]) - 2):
        table.add_column(max_width=28, style="yellow")
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return Panel(table, title=title, title_align="left", border_style="dim")


def _title(keys: tuple[str, ...]) -> str:
    return f"Settings in {', '.join(f'{key}.' for key in keys)}" if keys else "Settings"
