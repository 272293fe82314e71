"""Settings that another one makes useless."""

from dataclasses import fields
from typing import Any

from ..errors import ConfigError

__all__ = ["refuse_unread"]


def refuse_unread(config: Any, by: str, readers: tuple[str, ...], *names: str) -> None:
    """Refuse settings that are given and that nothing reads, so that none is set in vain.

    Args:
        config: the dataclass.
        by: the setting that decides whether the others are read.
        readers: its values with which they are.
        names: of the others, which have plain defaults.

    Raises:
        ConfigError: names the first that differs from its default where it is not read.
    """
    chosen = getattr(config, by)
    if chosen in readers:
        return
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        value = getattr(config, name)
        if value != defaults[name]:
            raise ConfigError(
                f"{name} is {value!r}, which {by} {chosen!r} never uses: drop it, or set {by} to {' or '.join(readers)}"
            )
