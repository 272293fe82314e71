"""A program of several commands."""

from typing import Any

from typer.core import TyperGroup

from ..config import did_you_mean
from ..errors import ConfigError

__all__ = ["Commands"]


class Commands(TyperGroup):
    """Subcommands by name; an unknown one is answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names.

        Raises:
            ConfigError: there is none; names the nearest.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands and not ctx.resilient_parsing:
            raise ConfigError(f"there is no command {args[0]!r}; {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)
