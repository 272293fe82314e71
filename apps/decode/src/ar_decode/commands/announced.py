"""Subcommands that other packages announce: settings in as ``key=value``, one line out."""

from collections.abc import Callable
from typing import Annotated

import typer
from ar_core.registry import Command

__all__ = ["announced_command"]


def announced_command(record: Command) -> Callable[..., None]:
    """The function behind the subcommand of a record; what is heavy is imported when it runs."""

    def command(
        settings: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="KEY=VALUE...", help="Settings; without any, the first one that is missing is named."
            ),
        ] = None,
    ) -> None:
        from ar_core.config import apply_overrides, from_dict
        from ar_core.registry import resolve

        options = from_dict(resolve(record.options), apply_overrides({}, settings or []))
        typer.echo(resolve(record.run)(options))

    return command
