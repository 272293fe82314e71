"""Subcommands that other packages announce: settings in as ``key=value``, a result out."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from ar_core.command_line import settings_of
from ar_core.registry import Command

__all__ = ["announced_command"]


def announced_command(record: Command) -> Callable[..., Any]:
    """The function behind the subcommand of a record; what is heavy is imported when it runs."""

    def command(
        settings: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="KEY=VALUE...",
                help="Settings, listed below; without any, the first one missing is named.",
                autocompletion=settings_of(record.options),
            ),
        ] = None,
        as_json: bool = False,
    ) -> Any:
        from dataclasses import fields

        from ar_core.config import apply_overrides, from_dict, text_fields
        from ar_core.registry import resolve

        kind = resolve(record.options)
        # What prints as it goes has to know that it must not.
        said = {"json": True} if as_json and "json" in {field.name for field in fields(kind)} else {}
        return resolve(record.run)(from_dict(kind, apply_overrides(said, settings or [], texts=text_fields(kind))))

    return command
