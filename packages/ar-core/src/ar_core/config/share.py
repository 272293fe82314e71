"""Settings that are a share of something."""

from typing import Any

from ..errors import ConfigError

__all__ = ["require_share"]


def require_share(config: Any, *names: str) -> None:
    """Refuse shares outside of [0, 1).

    Args:
        config: the dataclass.
        names: of the settings.

    Raises:
        ConfigError: names the first.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise ConfigError(f"{name} is {value} and must be in [0, 1): give a share such as 0.02")
