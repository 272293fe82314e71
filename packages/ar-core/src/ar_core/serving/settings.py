"""Settings of an exporter."""

from collections.abc import Mapping
from typing import Any

from ar_core.errors import ConfigError

__all__ = ["taken"]


def taken(settings: Mapping[str, Any], *allowed: str) -> dict[str, Any]:
    """The settings, if there is none but the allowed ones.

    Raises:
        ConfigError: names one that is not.
    """
    for name in settings:
        if name not in allowed:
            what = f"it has {', '.join(allowed)} alone" if allowed else "it has none"
            raise ConfigError(f"the export of this checkpoint has no setting {name!r}, {what}: drop it")
    return dict(settings)
