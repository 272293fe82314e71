"""Settings that count something."""

from typing import Any, get_args, get_type_hints

from ..errors import ConfigError

__all__ = ["require_positive"]


def require_positive(config: Any, *names: str) -> None:
    """Refuse counts below 1; null passes, since types say where it may stand.

    Args:
        config: the dataclass.
        names: of the settings.

    Raises:
        ConfigError: names the first.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            nullable = type(None) in get_args(get_type_hints(type(config)).get(name))
            raise ConfigError(
                f"{name} is {value}, but must be at least 1: give a positive integer{', or null' if nullable else ''}"
            )
